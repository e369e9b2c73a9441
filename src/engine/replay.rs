//! A replay: one call of a workflow's function against its history, which decides and never acts.

use crate::engine::history::History;
use crate::engine::{calls, target};
use crate::pg::{Json, Oid, PgError, interrupt, scope, txn, unused};
use crate::store::functions::Function;

/// What is called, by whom.
pub(super) struct Call<'a> {
    pub(super) owner: Oid,
    pub(super) search_path: &'a str,
    pub(super) function: &'a Function,
    pub(super) input: &'a Json,
}

/// Calls the function to its end or to the first call that has no answer, for at most `limit` microseconds. Returns what
/// has come of it, whether the limit was reached, and the history, in which what it wanted is noted.
pub(super) fn replay(
    call: &Call,
    mut history: History,
    limit: Option<i64>,
) -> (Result<Option<Json>, PgError>, bool, History) {
    history.begin_replay();
    let ((outcome, fired), history) = calls::deciding(history, || {
        scope::as_owner(call.owner, call.search_path, || {
            if let Some(limit) = limit {
                interrupt::arm(limit);
            }
            let outcome = unused::watch(|| {
                txn::trial(|| {
                    txn::set_read_only();
                    interrupt::with_read_only_hint(|| target::try_call(call.function, call.input))
                })
            });
            (outcome, interrupt::disarm())
        })
    });
    (outcome, fired, history)
}
