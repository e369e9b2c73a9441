//! `logs`: what steps have raised below ERROR.

use super::statement;
use crate::pg::RunId;
use crate::pg::errdata::unpack;
use crate::pg::messages::Message;

statement!(COUNT, "logs_count", UUID, INT4);
statement!(
    INSERT,
    "log_insert",
    UUID,
    INT4,
    INT4,
    INT4,
    TEXT,
    TIMESTAMPTZ,
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    TEXT
);

/// The attempt that something was raised in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) n: i32,
    /// Of a branch; 0 otherwise.
    pub(crate) item: i32,
    pub(crate) attempt: i32,
}

impl Place {
    /// Of a call that runs within its run's turn.
    pub(crate) fn of_call(n: i32, attempt: i32) -> Self {
        Self { n, item: 0, attempt }
    }
}

/// How many messages of a run are kept, up to `limit`.
pub(crate) fn count(run: RunId, limit: usize) -> usize {
    let limit = i32::try_from(limit).unwrap_or(i32::MAX);
    let count: i32 = COUNT.first(&[&run, &limit], |row| row.need(0)).unwrap_or_default();
    count.unsigned_abs() as usize
}

pub(crate) fn insert(run: RunId, place: Place, step: &str, message: &Message) {
    INSERT.run(&[
        &run,
        &place.n,
        &place.item,
        &place.attempt,
        &step,
        &message.at,
        &message.severity,
        &unpack(message.sqlstate).as_str(),
        &message.text.as_str(),
        &message.detail.as_deref(),
        &message.hint.as_deref(),
        &message.context.as_deref(),
    ]);
}
