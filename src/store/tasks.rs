//! `tasks`: work for workers outside of the server.

use pg_workflow_core::trace::TraceParent;

use super::branches::Branch;
use super::statement;
use crate::pg::spi::Row;
use crate::pg::{Json, Oid, RunId, Timestamp};

statement!(
    INSERT,
    "task_insert",
    UUID,
    INT4,
    INT4,
    OID,
    INT4,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    TEXT
);
statement!(LOCK, "task_lock", UUID, INT4, OID);
statement!(TRY_LOCK, "task_try_lock", UUID, INT4, OID);
statement!(OPEN, "tasks_open", UUID, INT4);
statement!(REOPEN, "task_reopen", UUID, INT4, TIMESTAMPTZ);
statement!(BRIEF, "task_brief", UUID, INT4);
statement!(ATTEMPT, "task_attempt", UUID, INT4);
statement!(DELETE_TIMER, "task_timer_delete", TIMESTAMPTZ, UUID, INT4, INT4);
statement!(
    UPDATE,
    "task_update",
    UUID,
    INT4,
    TEXT,
    INT4,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    INT8,
    TIMESTAMPTZ,
    INT8,
    UUID,
    TEXT,
    OID,
    JSONB,
    JSONB
);

/// The item of a call by which timers and hints know that it is a task, and not a branch.
const ITEM: i32 = i32::MAX;

/// The unit of work that is the task of call `n`.
pub(crate) fn unit(run_id: RunId, n: i32) -> Branch {
    Branch { run_id, n, item: ITEM }
}

pub(crate) fn is_task(unit: Branch) -> bool {
    unit.item == ITEM
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Waiting,
    Running,
    Retrying,
    Completed,
    Failed,
    Cancelled,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn from_name(name: &str) -> Self {
        match name {
            "waiting" => Self::Waiting,
            "running" => Self::Running,
            "retrying" => Self::Retrying,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            _ => Self::Completed,
        }
    }

    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Running | Self::Retrying)
    }
}

/// When a task is queued again that a pause holds: when that is lifted.
pub(crate) const PARKED: Timestamp = Timestamp::MAX;

/// A task that this transaction has locked, with what its call and its queue say.
pub(crate) struct Task {
    pub(crate) run_id: RunId,
    pub(crate) n: i32,
    pub(crate) queue_id: i32,
    pub(crate) owner: Oid,
    pub(crate) priority: i16,
    pub(crate) seq: i64,
    pub(crate) status: Status,
    pub(crate) attempt: i32,
    pub(crate) created_at: Timestamp,
    pub(crate) queued_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) lease_until: Option<Timestamp>,
    pub(crate) lease_time: Option<i64>,
    pub(crate) timer_at: Option<Timestamp>,
    pub(crate) lease: Option<RunId>,
    pub(crate) worker: Option<String>,
    pub(crate) worker_role: Option<Oid>,
    pub(crate) details: Option<Json>,
    pub(crate) error: Option<Json>,
    /// Name of the call.
    pub(crate) name: String,
    pub(crate) request: Json,
    /// Retry policy of the call, or of its workflow.
    pub(crate) retry: Option<Json>,
    /// Neither its call nor its run has ended.
    pub(crate) wanted: bool,
    /// Of the run.
    pub(crate) id: String,
    pub(crate) workflow: String,
    pub(crate) queue: String,
    /// Others may be claimed when this one is done.
    pub(crate) counted: bool,
    /// And steps or runs wait among them.
    pub(crate) serves: bool,
    /// Workers listen for its queue.
    pub(crate) notifies: bool,
    /// In its queue; empty: none.
    pub(crate) key: String,
    /// The role that was asked about may claim from the queue.
    pub(crate) allowed: bool,
    /// What its run belongs to.
    pub(crate) trace: Option<TraceParent>,
}

impl Task {
    /// A pause holds it.
    pub(crate) fn is_parked(&self) -> bool {
        self.status == Status::Retrying && self.queued_at == PARKED
    }
}

fn read(row: &Row) -> Task {
    Task {
        run_id: row.need(0),
        n: row.need(1),
        queue_id: row.need(2),
        owner: row.need(3),
        priority: row.need(4),
        seq: row.need(5),
        status: Status::from_name(row.text(6)),
        attempt: row.need(7),
        created_at: row.need(8),
        queued_at: row.need(9),
        started_at: row.get(10),
        finished_at: row.get(11),
        lease_until: row.get(12),
        lease_time: row.get(13),
        timer_at: row.get(14),
        lease: row.get(15),
        worker: row.get(16),
        worker_role: row.get(17),
        details: row.get(18),
        error: row.get(19),
        name: row.need(20),
        request: row.get(21).unwrap_or_else(Json::null),
        retry: row.get(22),
        wanted: row.need(23),
        id: row.need(24),
        workflow: row.need(25),
        queue: row.need(26),
        counted: row.need(27),
        serves: row.need(28),
        key: row.need(29),
        notifies: row.need(30),
        allowed: row.need(31),
        trace: TraceParent::parse(row.text(32)),
    }
}

/// Locks a task, waiting for who holds it; says what `role` may do with it.
pub(crate) fn lock(run: RunId, n: i32, role: Oid) -> Option<Task> {
    LOCK.first(&[&run, &n, &role], read)
}

/// Locks a task unless another holds it.
pub(crate) fn try_lock(run: RunId, n: i32, role: Oid) -> Option<Task> {
    TRY_LOCK.first(&[&run, &n, &role], read)
}

/// Owner and priority of a task that is open, locked or not.
pub(crate) fn brief(unit: Branch) -> Option<(Oid, i16)> {
    BRIEF.first(&[&unit.run_id, &unit.n], |row| (row.need(0), row.need(1)))
}

/// Attempts that were begun.
pub(crate) fn attempts(run: RunId, n: i32) -> i32 {
    ATTEMPT.first(&[&run, &n], |row| row.need(0)).unwrap_or(1)
}

/// The calls of a run that have open tasks; of one call, with `n`.
pub(crate) fn open(run: RunId, n: Option<i32>) -> Vec<i32> {
    OPEN.query(&[&run, &n], |row| row.need(0))
}

/// Has a cancelled task begin again, outside of its queue; false if it is not cancelled.
pub(crate) fn reopen(run: RunId, n: i32, now: Timestamp) -> bool {
    REOPEN.first(&[&run, &n, &now], |_| ()).is_some()
}

/// A task about to be put into its queue.
pub(crate) struct NewTask<'a> {
    pub(crate) unit: Branch,
    pub(crate) queue_id: i32,
    pub(crate) owner: Oid,
    pub(crate) priority: i32,
    pub(crate) key: &'a str,
}

/// A new task, in its queue.
pub(crate) fn insert(new: &NewTask, now: Timestamp, timer: Option<Timestamp>) {
    let NewTask {
        unit,
        queue_id,
        owner,
        priority,
        key,
    } = new;
    INSERT.run(&[&unit.run_id, &unit.n, queue_id, owner, priority, &now, &timer, key]);
}

/// Writes a task as it is now.
pub(crate) fn update(task: &Task) {
    UPDATE.run(&[
        &task.run_id,
        &task.n,
        &task.status.name(),
        &task.attempt,
        &task.queued_at,
        &task.started_at,
        &task.finished_at,
        &task.lease_until,
        &task.lease_time,
        &task.timer_at,
        &task.seq,
        &task.lease,
        &task.worker,
        &task.worker_role,
        &task.details,
        &task.error,
    ]);
}

/// Takes the timer of a task away.
pub(crate) fn delete_timer(due: Timestamp, unit: Branch) {
    DELETE_TIMER.run(&[&due, &unit.run_id, &unit.n, &unit.item]);
}
