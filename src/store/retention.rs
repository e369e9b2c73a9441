//! `retention_rules` and `sweeps`, and runs as the background purge looks at them.

use pg_workflow_core::retention::Rule;

use super::statement;
use crate::pg::spi::Row;
use crate::pg::{Oid, RunId, Timestamp};

statement!(SET, "retention_set", TEXT, OID, INT8, INT8, OID, TIMESTAMPTZ);
statement!(UNSET, "retention_unset", TEXT, OID);
statement!(RULES, "retention_rules");
statement!(NAMES, "definition_names");
statement!(PAGE, "retention_page", UUID, UUID, INT4);
statement!(NEXT, "retention_next", UUID);
statement!(LOCK, "retention_lock", UUIDS, TIMESTAMPTZ);
statement!(ACTIONS, "actions_purge", TIMESTAMPTZ, INT4);
statement!(REMOVED, "sweep_removed", INT8, BOOL);
statement!(ENDED, "sweep_ended", TIMESTAMPTZ, TIMESTAMPTZ);
statement!(DUE, "sweep_due", TIMESTAMPTZ);

/// Whose instances of what a rule is for; `None`: any.
pub(crate) struct Scope<'a> {
    pub(crate) workflow: Option<&'a str>,
    pub(crate) owner: Option<Oid>,
}

/// Sets a rule, in the place of one of the same scope. Ages in microseconds.
pub(crate) fn set(scope: &Scope, completed: Option<i64>, failed: Option<i64>, by: Oid, at: Timestamp) {
    SET.run(&[&scope.workflow, &scope.owner, &completed, &failed, &by, &at]);
}

/// Takes a rule away; false if there is none of this scope.
pub(crate) fn unset(scope: &Scope) -> bool {
    UNSET.run(&[&scope.workflow, &scope.owner]) > 0
}

pub(crate) fn rules() -> Vec<Rule> {
    RULES.query(&[], |row| Rule {
        workflow: row.get(0),
        owner: row.get::<Oid>(1).map(Oid::to_u32),
        completed: row.get(2),
        failed: row.get(3),
    })
}

/// Definitions with the names of their workflows.
pub(crate) fn workflow_names() -> Vec<(i32, String)> {
    NAMES.query(&[], |row| (row.need(0), row.need(1)))
}

/// What decides how long a run is kept.
pub(crate) struct Standing {
    /// `None`: it is open.
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) failed: bool,
    pub(crate) def_id: i32,
    pub(crate) owner: Oid,
}

impl Standing {
    fn read(row: &Row, first: usize) -> Self {
        Self {
            finished_at: row.get(first),
            failed: row.need(first + 1),
            def_id: row.need(first + 2),
            owner: row.need(first + 3),
        }
    }
}

/// A run, with those that it is to be kept as long as.
pub(crate) struct Candidate {
    pub(crate) run_id: RunId,
    pub(crate) run: Standing,
    /// The first run of its id.
    pub(crate) first: Option<Standing>,
    /// Its parent, if that would have it go on again.
    pub(crate) parent: Option<RunId>,
}

/// Up to `count` runs behind one run id and before another, in their order.
pub(crate) fn page(behind: RunId, before: RunId, count: i32) -> Vec<Candidate> {
    PAGE.query(&[&behind, &before, &count], |row| Candidate {
        run_id: row.need(0),
        run: Standing::read(row, 1),
        first: row.get::<i32>(7).map(|_| Standing::read(row, 5)),
        parent: row.get(9),
    })
}

/// When the first run was made of those that were made at a time or behind it, to the millisecond.
pub(crate) fn next_made(at: Timestamp) -> Option<Timestamp> {
    NEXT.first(&[&RunId::least_at(at)], |row| row.need::<RunId>(0).made_at())
}

/// Locks runs that ended before a time; each with whether it may go.
pub(crate) fn lock(runs: &Vec<RunId>, before: Timestamp) -> Vec<(RunId, bool)> {
    LOCK.query(&[runs, &before], |row| (row.need(0), row.need(1)))
}

/// Removes up to `count` records of what was done to instances that are gone; returns how many.
pub(crate) fn remove_actions(before: Timestamp, count: i32) -> u64 {
    ACTIONS.run(&[&before, &count])
}

/// Notes how many runs a part of a sweep has removed.
pub(crate) fn note_removed(count: i32, first: bool) {
    REMOVED.run(&[&i64::from(count), &first]);
}

/// Notes that a sweep has come to its end, and when the next is due.
pub(crate) fn note_ended(at: Timestamp, next: Option<Timestamp>) {
    ENDED.run(&[&at, &next]);
}

/// Notes when the next sweep is due; `None`: nothing comes of age.
pub(crate) fn note_due(next: Option<Timestamp>) {
    DUE.run(&[&next]);
}
