//! What runs emit: entries of their histories, by name.

use super::statement;
use crate::pg::{Json, RunId, Timestamp};

statement!(READ, "stream_read", UUID, TEXT, INT8);

/// One value of a stream.
pub(crate) struct Emitted {
    pub(crate) seq: i64,
    pub(crate) value: Json,
    pub(crate) at: Timestamp,
}

/// What a run has emitted under `name` behind a position.
pub(crate) fn read(run: RunId, name: &str, after: i64) -> Vec<Emitted> {
    READ.query(&[&run, &name, &after], |row| Emitted {
        seq: row.need(0),
        value: row.need(1),
        at: row.need(2),
    })
}
