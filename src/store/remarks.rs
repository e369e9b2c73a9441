//! `remarks`: what was seen of versions of workflow functions while they ran.

use super::statement;
use crate::pg::{Oid, RunId, Timestamp, txn};

statement!(RELATION, "relation_get", OID);
statement!(FIND, "remark_find", INT4, TEXT);
statement!(INSERT, "remark_insert", INT4, TEXT, UUID, OID, TIMESTAMPTZ);

/// Qualified name of a relation of the users' whose rows may change: none of Postgres' or ours, none of one session's.
pub(crate) fn relation(oid: Oid) -> Option<String> {
    RELATION.first(&[&oid], |row| row.need(0))
}

/// Whether a remark is there, and whether its row is there to stay: one of this very transaction may be rolled back.
pub(crate) fn find(def_id: i32, relation: &str) -> Option<bool> {
    FIND.first(&[&def_id, &relation], |row| !txn::is_own(row.need::<i32>(0)))
}

/// A remark that was recorded.
pub(crate) struct Recorded {
    pub(crate) workflow: String,
    pub(crate) version: i32,
    /// The version has one like it, under other options or another `search_path`.
    pub(crate) known: bool,
}

/// Records a remark, unless somebody else has or is about to.
pub(crate) fn insert(def_id: i32, relation: &str, run: RunId, owner: Oid, now: Timestamp) -> Option<Recorded> {
    INSERT.first(&[&def_id, &relation, &run, &owner, &now], |row| Recorded {
        workflow: row.need(0),
        version: row.need(1),
        known: row.need(2),
    })
}
