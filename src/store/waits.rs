//! `waits`: open waits for signals.

use super::statement;
use crate::pg::{Json, RunId, Timestamp};

statement!(
    INSERT,
    "wait_insert",
    UUID,
    INT4,
    TEXT,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    TEXT,
    JSONB,
    JSONB
);
statement!(DELETE, "wait_delete", UUID, INT4);
statement!(SCHEMA, "wait_schema", UUID, TEXT);
statement!(OWN_SCHEMA, "wait_own_schema", UUID, INT4);

/// A wait about to begin.
pub(crate) struct NewWait<'a> {
    pub(crate) n: i32,
    pub(crate) name: &'a str,
    pub(crate) since: Timestamp,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) prompt: Option<&'a str>,
    pub(crate) schema: Option<&'a Json>,
    pub(crate) default: Option<&'a Json>,
}

pub(crate) fn begin(run: RunId, wait: &NewWait) {
    INSERT.run(&[
        &run,
        &wait.n,
        &wait.name,
        &wait.since,
        &wait.due_at,
        &wait.prompt,
        &wait.schema,
        &wait.default,
    ]);
}

/// The wait has ended; returns its default.
pub(crate) fn end(run: RunId, n: i32) -> Option<Json> {
    DELETE.first(&[&run, &n], |row| row.get(0)).flatten()
}

/// What the next signal of a name must fit.
pub(crate) fn schema(run: RunId, name: &str) -> Option<Json> {
    SCHEMA.first(&[&run, &name], |row| row.get(0)).flatten()
}

/// What the signal that a wait takes must fit.
pub(crate) fn own_schema(run: RunId, n: i32) -> Option<Json> {
    OWN_SCHEMA.first(&[&run, &n], |row| row.get(0)).flatten()
}
