//! Triggers of tables that start workflows, as Postgres' catalogues have them.

use super::statement;
use crate::pg::Oid;

statement!(TABLE, "trigger_table", OID);
statement!(EXISTS, "trigger_exists", OID, TEXT);
statement!(FIND, "trigger_find", OID, TEXT);
statement!(LEFTOVER, "trigger_leftover", TEXT, TEXT);

/// A relation as DDL names it.
pub(crate) struct Table {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// False for views, indexes and the like.
    pub(crate) has_rows: bool,
}

pub(crate) fn table(oid: Oid) -> Option<Table> {
    TABLE.first(&[&oid], |row| Table {
        schema: row.need(0),
        name: row.need(1),
        has_rows: row.need(2),
    })
}

pub(crate) fn exists(table: Oid, name: &str) -> bool {
    EXISTS.first(&[&table, &name], |_| ()).is_some()
}

/// Schema and name of the function behind a trigger that `wf_on` has made.
pub(crate) fn find(table: Oid, name: &str) -> Option<(String, String)> {
    FIND.first(&[&table, &name], |row| (row.need(0), row.need(1)))
}

/// True if there is a function that `wf_on` has made for a trigger that is gone.
pub(crate) fn is_leftover(schema: &str, name: &str) -> bool {
    LEFTOVER.first(&[&schema, &name], |_| ()).is_some()
}
