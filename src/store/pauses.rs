//! `pauses` and `parked`: what is not to run for now, and the hints of runs that would.

use super::branches::Branch;
use super::statement;
use crate::pg::{Oid, RunId, Timestamp};

statement!(INSERT, "pause_insert", UUID, OID, TEXT, OID, TEXT, TEXT, TIMESTAMPTZ);
statement!(LIFT_RUN, "pause_lift_run", UUID);
statement!(LIFT_WIDE, "pause_lift_wide", OID, TEXT);
statement!(LIFT, "pause_lift", INT8);
statement!(LOAD, "pauses_load", OID);
statement!(OF_RUN, "pause_of_run", UUID);
statement!(OF_TASKS, "task_pause", UUID);
statement!(HOLD, "pause_hold", INT8);
statement!(EXISTS, "pause_exists", INT8);
statement!(MOVE, "pause_move", UUID, UUID);
statement!(FORGET, "pause_forget", UUID);
statement!(PARK, "parked_insert", INT8, UUID, OID, INT4, INT4, INT4);
statement!(RELEASE, "parked_release", INT8);

/// What a pause is about.
pub(crate) enum Scope<'a> {
    Run {
        run_id: RunId,
        owner: Oid,
    },
    /// Runs of one role or of every role, of one workflow or of every workflow.
    Wide {
        owner: Option<Oid>,
        workflow: Option<&'a str>,
    },
}

/// A pause about to be set.
pub(crate) struct NewPause<'a> {
    pub(crate) scope: &'a Scope<'a>,
    pub(crate) at: Timestamp,
    pub(crate) by: Oid,
    pub(crate) reason: Option<&'a str>,
    pub(crate) waiting_for: &'a str,
}

/// Sets a pause; false if there is one of the same scope. Waits for a transaction that is setting the same.
pub(crate) fn insert(pause: &NewPause) -> bool {
    let (run, owner, workflow) = match *pause.scope {
        Scope::Run { run_id, owner } => (Some(run_id), Some(owner), None),
        Scope::Wide { owner, workflow } => (None, owner, workflow),
    };
    INSERT
        .first(
            &[
                &run,
                &owner,
                &workflow,
                &pause.by,
                &pause.reason,
                &pause.waiting_for,
                &pause.at,
            ],
            |_| (),
        )
        .is_some()
}

/// Deletes the pause of a scope; returns its number if there was one. Waits for transactions that [`hold`] it.
pub(crate) fn lift(scope: &Scope) -> Option<i64> {
    match scope {
        Scope::Run { run_id, .. } => LIFT_RUN.first(&[run_id], |row| row.need(0)),
        Scope::Wide { owner, workflow } => LIFT_WIDE.first(&[owner, workflow], |row| row.need(0)),
    }
}

/// Likewise, by its number; false if it is gone.
pub(crate) fn lift_one(pause: i64) -> bool {
    LIFT.first(&[&pause], |_| ()).is_some()
}

/// A pause as executors know it.
pub(crate) struct Known {
    pub(crate) pause_id: i64,
    pub(crate) run: Option<RunId>,
    pub(crate) workflow: Option<String>,
    /// It holds a run that has crashed the server.
    pub(crate) crashed: bool,
}

/// The pauses that concern runs of a role.
pub(crate) fn load(owner: Oid) -> Vec<Known> {
    LOAD.query(&[&owner], |row| Known {
        pause_id: row.need(0),
        run: row.get(1),
        workflow: row.get(2),
        crashed: row.need(3),
    })
}

/// What an open run that is paused waits for, in words.
pub(crate) fn of_run(run: RunId) -> Option<String> {
    OF_RUN.first(&[&run], |row| row.get(0)).flatten()
}

/// The pause that keeps the tasks of a run from being claimed.
pub(crate) fn of_tasks(run: RunId) -> Option<i64> {
    OF_TASKS.first(&[&run], |row| row.need(0))
}

/// Keeps a pause from being lifted until this transaction ends. False if it is gone, or is being lifted.
pub(crate) fn hold(pause: i64) -> bool {
    HOLD.first(&[&pause], |_| ()).is_some()
}

pub(crate) fn exists(pause: i64) -> bool {
    EXISTS.first(&[&pause], |_| ()).is_some()
}

/// Deletes the pause of a run that has ended.
pub(crate) fn forget_ended(run: RunId) {
    FORGET.run(&[&run]);
}

/// Leaves the hint of a run, or of a branch of it, under a pause that this transaction holds.
pub(crate) fn park(pause: i64, run: RunId, branch: Option<Branch>, owner: Oid, priority: i32) {
    let (n, item) = branch.map_or((0, 0), |branch| (branch.n, branch.item));
    PARK.run(&[&pause, &run, &owner, &priority, &n, &item]);
}

/// Makes the runs ready that are parked under a pause, which is deleted; returns their owners.
pub(crate) fn release(pause: i64) -> Vec<Oid> {
    RELEASE.query(&[&pause], |row| row.need(0))
}

/// The pause of a run goes over to the next run of its id; true if there is one.
pub(crate) fn pass_on(run: RunId, next: RunId) -> bool {
    MOVE.run(&[&run, &next]) > 0
}
