//! What operators change of `runs` and `steps`, under the run's row lock.

use super::statement;
use super::steps::Kind;
use crate::pg::spi::Row;
use crate::pg::{Json, RunId, Timestamp};

statement!(WAIT_LOCK, "run_wait_lock", UUID);
statement!(STAYS_CLOSED, "run_stays_closed", UUID);
statement!(REOPEN, "run_reopen", UUID, TIMESTAMPTZ);
statement!(FORK, "run_fork", UUID, TEXT, UUID, INT4, JSONB, TIMESTAMPTZ);
statement!(CUT, "steps_cut", UUID);
statement!(OPEN_CALL, "call_open", UUID, TEXT);
statement!(FAILED_CALL, "call_failed", UUID, TEXT);
statement!(COMPLETE, "call_complete", UUID, INT4, JSONB, TIMESTAMPTZ);
statement!(GOES_ON, "run_goes_on", UUID);
statement!(REOPEN_CALLS, "steps_reopen", UUID);
statement!(REOPEN_BEGUN, "steps_reopen_begun", UUID);
statement!(REOPEN_BRANCHES, "branches_reopen", UUID, INT4, INT4);
statement!(FAILED_CHILDREN, "children_failed", UUID, INT4);
statement!(CHILDREN, "children_of_call", UUID, INT4);
statement!(PROGRESS, "step_progress", UUID, INT4, JSONB);
statement!(COMPENSATED, "run_compensated", UUID);
statement!(COPY, "steps_copy", UUID, UUID, INT4);
statement!(FIND, "step_find", UUID, TEXT);
statement!(DEFINITION, "run_definition", UUID);
statement!(COUNT, "steps_count", UUID);
statement!(CANCELLED, "steps_cancelled", UUID);

/// Locks a run that no step is running in, waiting for whoever has it for a moment.
pub(crate) fn wait_lock(run: RunId) {
    WAIT_LOCK.run(&[&run]);
}

/// True if a run is closed and stays so until this transaction ends. Waits for a transaction that reopens it.
pub(crate) fn stays_closed(run: RunId) -> bool {
    STAYS_CLOSED.first(&[&run], |row| row.need(0)).unwrap_or(false)
}

/// Opens a run that has ended; returns its deadline.
pub(crate) fn reopen(run: RunId, now: Timestamp) -> Option<Timestamp> {
    REOPEN.first(&[&run, &now], |row| row.get(0)).flatten()
}

/// Takes the failure off the end of a run's history; returns number and name of the first call that is gone.
pub(crate) fn cut_failure(run: RunId) -> Option<(i32, String)> {
    CUT.query(&[&run], |row| (row.need(0), row.need(1))).into_iter().min()
}

/// The version of the code that a run is on.
pub(crate) fn definition(run: RunId) -> Option<i32> {
    DEFINITION.first(&[&run], |row| row.need(0))
}

/// A run about to be inserted beside another.
pub(crate) struct NewFork<'a> {
    pub(crate) run_id: RunId,
    pub(crate) id: &'a str,
    pub(crate) origin: RunId,
    pub(crate) def_id: i32,
    pub(crate) input: Option<&'a Json>,
    pub(crate) at: Timestamp,
}

/// Inserts a run that is to be given a history; returns deadline and priority, or `None` if the id is in use.
pub(crate) fn fork(new: &NewFork) -> Option<(Option<Timestamp>, i16)> {
    FORK.first(
        &[&new.run_id, &new.id, &new.origin, &new.def_id, &new.input, &new.at],
        |row| (row.get(0), row.need(1)),
    )
}

/// Copies the history of `origin` up to its call `n`, or to the first one without an answer; returns its length.
pub(crate) fn copy_history(run: RunId, origin: RunId, n: i32) -> u64 {
    COPY.run(&[&run, &origin, &n])
}

/// Number of the last call of a name.
pub(crate) fn last_call(run: RunId, name: &str) -> Option<i32> {
    FIND.first(&[&run, &name], |row| row.need(0))
}

/// Number of recorded calls.
pub(crate) fn calls(run: RunId) -> i32 {
    COUNT.first(&[&run], |row| row.need(0)).unwrap_or(0)
}

/// True if a cancel was delivered to a run.
pub(crate) fn was_cancelled(run: RunId) -> bool {
    CANCELLED.first(&[&run], |_| ()).is_some()
}

/// A call that is open again.
pub(crate) struct Reopened {
    pub(crate) n: i32,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) request: Option<Json>,
    /// What a map says of itself.
    pub(crate) progress: Option<Json>,
}

/// Opens the calls again whose failure has ended a run, where others have worked on them.
pub(crate) fn reopen_calls(run: RunId) -> Vec<Reopened> {
    REOPEN_CALLS.query(&[&run], |row| Reopened {
        n: row.need(0),
        kind: Kind::from_name(row.text(1)),
        name: row.need(2),
        request: row.get(3),
        progress: row.get(4),
    })
}

/// A begun call that is open again.
pub(crate) struct Begun {
    pub(crate) n: i32,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) request: Option<Json>,
    pub(crate) due_at: Option<Timestamp>,
}

/// Opens the begun calls again that the end of a run has cut off.
pub(crate) fn reopen_begun(run: RunId) -> Vec<Begun> {
    REOPEN_BEGUN.query(&[&run], |row| Begun {
        n: row.need(0),
        kind: Kind::from_name(row.text(1)),
        name: row.need(2),
        request: row.get(3),
        due_at: row.get(4),
    })
}

/// Has the items of a call that were begun (the first `begun`) and are not done be done again; returns which.
pub(crate) fn reopen_branches(run: RunId, n: i32, begun: i32) -> Vec<i32> {
    REOPEN_BRANCHES.query(&[&run, &n, &begun], |row| row.need(0))
}

/// Children of a call that are open.
pub(crate) fn open_children(run: RunId, n: i32) -> Vec<RunId> {
    CHILDREN.query(&[&run, &n], |row| row.need(0))
}

/// Children of a call that have failed or were cancelled.
pub(crate) fn failed_children(run: RunId, n: i32) -> Vec<RunId> {
    FAILED_CHILDREN.query(&[&run, &n], |row| row.need(0))
}

/// Writes what an open map says of itself.
pub(crate) fn set_progress(run: RunId, n: i32, progress: &Json) {
    PROGRESS.run(&[&run, &n, progress]);
}

/// True if a run has undone what it had done.
pub(crate) fn was_compensated(run: RunId) -> bool {
    COMPENSATED.first(&[&run], |_| ()).is_some()
}

/// A call that an operator answers.
pub(crate) struct Call {
    pub(crate) n: i32,
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

/// The open call of a name, or the one that the function stands at.
pub(crate) fn open_call(run: RunId, name: Option<&str>) -> Option<Call> {
    OPEN_CALL.first(&[&run, &name], call)
}

/// The call whose failure has ended a run, if it has this name.
pub(crate) fn failed_call(run: RunId, name: Option<&str>) -> Option<Call> {
    FAILED_CALL.first(&[&run, &name], call)
}

fn call(row: &Row) -> Call {
    Call {
        n: row.need(0),
        kind: Kind::from_name(row.text(1)),
        name: row.need(2),
    }
}

/// Answers a call.
pub(crate) fn complete(run: RunId, n: i32, result: &Json, at: Timestamp) {
    COMPLETE.run(&[&run, &n, result, &at]);
}

/// The function of an open run has reason to be called again.
pub(crate) fn goes_on(run: RunId) {
    GOES_ON.run(&[&run]);
}
