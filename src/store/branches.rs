//! `branches`: units of work of a run that run side by side.

use pg_workflow_core::trace::TraceParent;

use super::runs::{Locked, Status};
use super::statement;
use crate::pg::{Json, RunId, Timestamp};

statement!(INSERT, "branch_insert", UUID, INT4);
statement!(INSERT_ALL, "branches_insert", UUID, INT4, JSONB);
statement!(LOCK, "branches_lock", UUIDS, INT4S, INT4S);
statement!(
    UPDATE,
    "branch_update",
    UUID,
    INT4,
    INT4,
    TEXT,
    INT4,
    JSONB,
    JSONB,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    TIMESTAMPTZ
);
statement!(SET, "branch_set", UUID, INT4, INT4, TEXT, JSONB, JSONB, TIMESTAMPTZ);
statement!(OUTCOME, "branch_outcome", UUID, INT4);
statement!(SYNC, "branches_sync", UUID, INT4);
statement!(ENDED, "branches_ended", UUID, INT4, INT4);
statement!(RESULTS, "branches_results", UUID, INT4, BOOL);
statement!(INPUT, "branch_input", UUID, INT4, INT4);
statement!(FAILURE, "branches_failure", UUID, INT4);

/// Which unit of work: item `item` (from 1) of call `n` of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Branch {
    pub(crate) run_id: RunId,
    pub(crate) n: i32,
    pub(crate) item: i32,
}

/// A branch that this transaction is the one writer of, with what its run says.
pub(crate) struct LockedBranch {
    pub(crate) branch: Branch,
    /// Attempts that have ended. One that runs in no transaction is counted in the table when it begins.
    pub(crate) attempt: i32,
    /// It runs in no transaction, or did when its process ended.
    pub(crate) running: bool,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) started_at: Option<Timestamp>,
    /// Neither it, nor its call, nor its run has ended.
    pub(crate) open: bool,
    pub(crate) input: Option<Json>,
    /// Name of the call.
    pub(crate) name: String,
    /// Of the call.
    pub(crate) request: Option<Json>,
}

/// A step that runs beside its run.
pub(crate) fn insert(run: RunId, n: i32) {
    INSERT.run(&[&run, &n]);
}

/// The items of a call, given as a JSON array.
pub(crate) fn insert_all(run: RunId, n: i32, items: &Json) {
    INSERT_ALL.run(&[&run, &n, items]);
}

/// Locks those of `branches` that no other executor holds. Their runs are not locked, and may change meanwhile.
pub(crate) fn lock(branches: &[Branch]) -> Vec<(LockedBranch, Locked)> {
    let runs: Vec<RunId> = branches.iter().map(|branch| branch.run_id).collect();
    let calls: Vec<i32> = branches.iter().map(|branch| branch.n).collect();
    let items: Vec<i32> = branches.iter().map(|branch| branch.item).collect();
    LOCK.query(&[&runs, &calls, &items], |row| {
        let run_id = row.need(0);
        let running = row.text(4) == "running";
        let branch = LockedBranch {
            branch: Branch {
                run_id,
                n: row.need(1),
                item: row.need(2),
            },
            attempt: row.need::<i32>(3) - i32::from(running),
            running,
            due_at: row.get(5),
            started_at: row.get(6),
            open: matches!(row.text(4), "pending" | "retrying" | "running") && row.need(17),
            input: row.get(7),
            name: row.need(8),
            request: row.get(9),
        };
        let run = Locked {
            run_id,
            def_id: row.need(10),
            owner: row.need(11),
            priority: row.need(12),
            status: Status::Running,
            id: row.need(13),
            input: Json::null(),
            started_at: None,
            deadline: row.get(14),
            start_at: None,
            start_by: None,
            controlled: false,
            version: 0,
            depth: row.need(16),
            seq: row.need(15),
            parent: None,
            queue: None,
            created_at: row.need(18),
            trace: TraceParent::parse(row.text(19)),
        };
        (branch, run)
    })
}

/// What has become of an attempt.
pub(crate) struct Outcome<'a> {
    pub(crate) status: &'static str,
    pub(crate) attempt: i32,
    pub(crate) result: Option<&'a Json>,
    pub(crate) error: Option<&'a Json>,
    pub(crate) started_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) due_at: Option<Timestamp>,
}

/// Writes what has become of an attempt.
pub(crate) fn update(branch: Branch, outcome: &Outcome) {
    UPDATE.run(&[
        &branch.run_id,
        &branch.n,
        &branch.item,
        &outcome.status,
        &outcome.attempt,
        &outcome.result,
        &outcome.error,
        &outcome.started_at,
        &outcome.finished_at,
        &outcome.due_at,
    ]);
}

/// Writes how a child has ended that is an item of a map.
pub(crate) fn set(branch: Branch, status: &str, result: Option<&Json>, error: Option<&Json>, at: Timestamp) {
    SET.run(&[&branch.run_id, &branch.n, &branch.item, &status, &result, &error, &at]);
}

/// Writes of all children that are items of a map how they have ended.
pub(crate) fn sync(run: RunId, n: i32) {
    SYNC.run(&[&run, &n]);
}

/// How many of the first `items` of a map have ended, and how many of them without a result.
pub(crate) fn ended(run: RunId, n: i32, items: i32) -> (i32, i32) {
    ENDED
        .first(&[&run, &n, &items], |row| (row.need(0), row.need(1)))
        .unwrap_or_default()
}

/// Result, error and attempts of a step that ran beside its run.
pub(crate) fn outcome(run: RunId, n: i32) -> Option<(Option<Json>, Option<Json>, i32)> {
    OUTCOME.first(&[&run, &n], |row| (row.get(0), row.get(1), row.need(2)))
}

/// Results of a map in the order of its items; with `outcomes`, each with how it went.
pub(crate) fn results(run: RunId, n: i32, outcomes: bool) -> Option<Json> {
    RESULTS.first(&[&run, &n, &outcomes], |row| row.need(0))
}

/// The first item of a map that has failed, and its error.
pub(crate) fn failure(run: RunId, n: i32) -> Option<(i32, Json)> {
    FAILURE.first(&[&run, &n], |row| (row.need(0), row.need(1)))
}

/// The item that a branch is for.
pub(crate) fn input(branch: Branch) -> Option<Json> {
    INPUT
        .first(&[&branch.run_id, &branch.n, &branch.item], |row| row.get(0))
        .flatten()
}
