//! `answers`: what others have made of a run's open calls, until its next turn takes it.

use super::statement;
use crate::pg::{Json, RunId};

statement!(INSERT, "answer_insert", UUID, INT4, INT4, TEXT, JSONB, JSONB);
statement!(TAKE, "answers_take", UUID, INT8);

/// An answer to call `n` of a run, or to one item of it.
pub(crate) struct Answer {
    pub(crate) seq: i64,
    pub(crate) n: i32,
    pub(crate) item: i32,
    pub(crate) status: String,
    pub(crate) result: Option<Json>,
    pub(crate) error: Option<Json>,
}

/// Gives an answer. The caller also makes the run ready.
pub(crate) fn give(run: RunId, n: i32, item: i32, status: &str, result: Option<&Json>, error: Option<&Json>) {
    INSERT.run(&[&run, &n, &item, &status, &result, &error]);
}

/// Takes the answers behind a place in the order.
pub(crate) fn take(run: RunId, after: i64) -> Vec<Answer> {
    TAKE.query(&[&run, &after], |row| Answer {
        seq: row.need(0),
        n: row.need(1),
        item: row.need(2),
        status: row.need(3),
        result: row.get(4),
        error: row.get(5),
    })
}
