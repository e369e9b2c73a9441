//! `answers`: what others have made of a run's open calls, until its next turn takes it.

use super::statement;
use crate::pg::{Json, RunId};

statement!(INSERT, "answer_insert", UUID, INT4, INT4, TEXT, JSONB, JSONB);
statement!(TAKE, "answers_take", UUID);
statement!(DELETE, "answers_delete", UUID, INT4);
statement!(ANEW, "answers_anew", UUID, INT4);

/// An answer to call `n` of a run, or to one item of it.
pub(crate) struct Answer {
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

/// Takes the answers that have come in, all of them: one with a lower number may commit after one with a higher.
pub(crate) fn take(run: RunId) -> Vec<Answer> {
    TAKE.query(&[&run], |row| Answer {
        n: row.need(0),
        item: row.need(1),
        status: row.need(2),
        result: row.get(3),
        error: row.get(4),
    })
}

/// Takes back what begun call `n` has been answered.
pub(crate) fn forget(run: RunId, n: i32) {
    DELETE.run(&[&run, &n]);
}

/// Answers begun call `n` with what its branch or child has come to, if it is done.
pub(crate) fn give_anew(run: RunId, n: i32) {
    ANEW.run(&[&run, &n]);
}
