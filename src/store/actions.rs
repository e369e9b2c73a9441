//! `actions`: what operators have done.

use super::statement;
use crate::pg::{Json, Oid, RunId, Timestamp};

statement!(
    INSERT,
    "action_insert",
    TIMESTAMPTZ,
    OID,
    OID,
    TEXT,
    UUID,
    TEXT,
    TEXT,
    JSONB
);

/// A row of the record.
pub(crate) struct Action<'a> {
    pub(crate) at: Timestamp,
    pub(crate) by: Oid,
    /// Whose instance it is, or who has done it.
    pub(crate) owner: Oid,
    pub(crate) name: &'a str,
    pub(crate) run: Option<(RunId, &'a str)>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) detail: Option<Json>,
}

pub(crate) fn insert(action: &Action) {
    INSERT.run(&[
        &action.at,
        &action.by,
        &action.owner,
        &action.name,
        &action.run.map(|(run_id, _)| run_id),
        &action.run.map(|(_, id)| id),
        &action.reason,
        &action.detail,
    ]);
}
