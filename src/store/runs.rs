//! `runs`: one row a run.

use pg_workflow_core::trace::TraceParent;

use super::{agenda, statement};
use crate::pg::{Json, Oid, RunId, Timestamp};

statement!(
    INSERT,
    "run_insert",
    UUID,
    TEXT,
    INT4,
    INT4,
    OID,
    INT4,
    JSONB,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    INT4,
    UUID,
    INT4,
    INT4,
    TIMESTAMPTZ,
    JSONB,
    TEXT
);
statement!(FIND, "run_find", TEXT);
statement!(BY_ID, "run_by_id", TEXT);
statement!(LOCK, "run_lock", UUIDS);
statement!(RELOCK, "run_relock", UUID);
statement!(EXISTING, "run_exists", UUIDS);
statement!(WAITS, "run_waits", UUID, TEXT, TEXT, TIMESTAMPTZ);
statement!(CLOSE, "run_close", UUID, TEXT, JSONB, JSONB, TIMESTAMPTZ, TIMESTAMPTZ);
statement!(LIMITS, "run_limits", UUID);
statement!(GET, "run_get", UUID);
statement!(VALUE, "value_get", UUID, TEXT);
statement!(ERROR, "run_error", UUID);
statement!(COMPENSATES, "run_compensates", UUID, JSONB, TIMESTAMPTZ);
statement!(CHILDREN, "children_open", UUID);
statement!(NEXT, "run_next", UUID);

/// Where a run stands. `running` is written only when a run commits in the middle of its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Pending,
    Running,
    Waiting,
    /// It has failed or was cancelled and undoes what it has done.
    Compensating,
    Completed,
    Failed,
    Cancelled,
    /// The next run of its id goes on.
    Continued,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Continued => "continued",
        }
    }

    fn from_name(name: &str) -> Self {
        match name {
            "running" => Self::Running,
            "waiting" => Self::Waiting,
            "completed" => Self::Completed,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            "compensating" => Self::Compensating,
            "continued" => Self::Continued,
            _ => Self::Pending,
        }
    }

    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Running | Self::Waiting | Self::Compensating)
    }
}

/// The call of another run that a run is the child of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) run_id: RunId,
    pub(crate) n: i32,
    /// Of a map; 0 otherwise.
    pub(crate) item: i32,
}

/// A run about to be inserted.
pub(crate) struct NewRun<'a> {
    pub(crate) run_id: RunId,
    pub(crate) id: &'a str,
    pub(crate) seq: i32,
    pub(crate) def_id: i32,
    pub(crate) owner: Oid,
    pub(crate) priority: i32,
    pub(crate) input: &'a Json,
    pub(crate) created_at: Timestamp,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) start_at: Option<Timestamp>,
    pub(crate) start_by: Option<Timestamp>,
    /// Parents above it.
    pub(crate) depth: i32,
    pub(crate) parent: Option<Parent>,
    /// The queue that it takes its turn in.
    pub(crate) queue: Option<Json>,
    /// Where in a distributed trace it belongs.
    pub(crate) trace: Option<TraceParent>,
}

/// Inserts a run; false if the id has a run of that number already. Waits for a transaction that is inserting the same.
pub(crate) fn insert(run: &NewRun) -> bool {
    let inserted = INSERT
        .first(
            &[
                &run.run_id,
                &run.id,
                &run.seq,
                &run.def_id,
                &run.owner,
                &run.priority,
                run.input,
                &run.created_at,
                &run.deadline,
                &run.start_at,
                &run.depth,
                &run.parent.map(|parent| parent.run_id),
                &run.parent.map(|parent| parent.n),
                &run.parent.map(|parent| parent.item),
                &run.start_by,
                &run.queue,
                &run.trace.map(|trace| trace.to_string()),
            ],
            |_| (),
        )
        .is_some();
    if inserted {
        agenda::inserted(run.run_id);
    }
    inserted
}

/// A run as senders need it.
pub(crate) struct Brief {
    pub(crate) run_id: RunId,
    pub(crate) owner: Oid,
    pub(crate) priority: i16,
    pub(crate) status: Status,
}

/// The open run of an id, or the last, without its values.
pub(crate) fn find(id: &str) -> Option<Brief> {
    FIND.first(&[&id], |row| Brief {
        run_id: row.need(0),
        owner: row.need(1),
        priority: row.need(2),
        status: Status::from_name(row.text(3)),
    })
}

/// A run as clients see it.
pub(crate) struct Found {
    pub(crate) run_id: RunId,
    pub(crate) seq: i32,
    pub(crate) owner: Oid,
    pub(crate) status: Status,
    pub(crate) input: Json,
    pub(crate) result: Option<Json>,
    pub(crate) error: Option<Json>,
    pub(crate) waiting_for: Option<String>,
    /// The function, qualified and with its arguments.
    pub(crate) function: String,
    pub(crate) workflow: String,
}

/// The open run of an id, or the last.
pub(crate) fn by_id(id: &str) -> Option<Found> {
    BY_ID.first(&[&id], |row| Found {
        run_id: row.need(0),
        seq: row.need(1),
        owner: row.need(2),
        status: Status::from_name(row.text(3)),
        input: row.need(4),
        result: row.get(5),
        error: row.get(6),
        waiting_for: row.get(7),
        function: row.need(8),
        workflow: row.need(9),
    })
}

/// A run that this transaction is the one writer of.
pub(crate) struct Locked {
    pub(crate) run_id: RunId,
    pub(crate) def_id: i32,
    pub(crate) owner: Oid,
    pub(crate) priority: i16,
    pub(crate) status: Status,
    pub(crate) id: String,
    pub(crate) input: Json,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) start_at: Option<Timestamp>,
    /// When the first turn must have begun.
    pub(crate) start_by: Option<Timestamp>,
    /// Something was asked of it (`controls`).
    pub(crate) controlled: bool,
    /// The transaction that wrote the row last.
    pub(crate) version: i32,
    pub(crate) depth: i16,
    pub(crate) seq: i32,
    pub(crate) parent: Option<Parent>,
    /// The queue that it takes its turn in.
    pub(crate) queue: Option<Json>,
    pub(crate) created_at: Timestamp,
    /// Where in a distributed trace it belongs.
    pub(crate) trace: Option<TraceParent>,
}

/// Locks those of `ids` that no other executor holds.
pub(crate) fn lock(ids: &Vec<RunId>) -> Vec<Locked> {
    LOCK.query(&[ids], |row| Locked {
        run_id: row.need(0),
        def_id: row.need(1),
        owner: row.need(2),
        priority: row.need(3),
        status: Status::from_name(row.text(4)),
        id: row.need(5),
        input: row.need(6),
        started_at: row.get(7),
        deadline: row.get(8),
        start_at: row.get(9),
        controlled: row.need(10),
        version: row.need(11),
        depth: row.need(12),
        seq: row.need(13),
        parent: row.get(14).map(|run_id| Parent {
            run_id,
            n: row.need(15),
            item: row.need(16),
        }),
        start_by: row.get(17),
        queue: row.get(18),
        created_at: row.need(19),
        trace: TraceParent::parse(row.text(20)),
    })
}

/// Locks a run again behind a commit of its one writer. Its version, and whether something was asked of it; `None` if another
/// executor holds it by now.
pub(crate) fn relock(run: RunId) -> Option<(i32, bool)> {
    RELOCK.first(&[&run], |row| (row.need(0), row.need(1)))
}

/// Those of `ids` that have a row, locked or not.
pub(crate) fn existing(ids: &Vec<RunId>) -> Vec<RunId> {
    EXISTING.query(&[ids], |row| row.need(0))
}

/// The run goes on later: as `Running` (more to do) or `Waiting`.
pub(crate) fn set_open(run: RunId, status: Status, waiting_for: Option<&str>, started_at: Timestamp) {
    WAITS.run(&[&run, &status.name(), &waiting_for, &started_at]);
}

/// The run has ended.
pub(crate) fn close(
    run: RunId,
    status: Status,
    result: Option<&Json>,
    error: Option<&Json>,
    started_at: Timestamp,
    finished_at: Timestamp,
) {
    CLOSE.run(&[&run, &status.name(), &result, &error, &started_at, &finished_at]);
}

/// What the limits of a run are counted from.
pub(crate) struct Limits {
    pub(crate) workflow: String,
    pub(crate) begins: Timestamp,
    pub(crate) start_by: Option<Timestamp>,
}

pub(crate) fn limits(run: RunId) -> Option<Limits> {
    LIMITS.first(&[&run], |row| Limits {
        workflow: row.need(0),
        begins: row.need(1),
        start_by: row.get(2),
    })
}

/// Everything about a run as one object.
pub(crate) fn get(run: RunId) -> Option<Json> {
    GET.first(&[&run], |row| row.need(0))
}

/// The value last published under `name`.
pub(crate) fn published(run: RunId, name: &str) -> Option<Json> {
    VALUE.first(&[&run, &name], |row| row.get(0)).flatten()
}

/// The error that a run which is compensating will end with.
pub(crate) fn error(run: RunId) -> Option<Json> {
    ERROR.first(&[&run], |row| row.get(0)).flatten()
}

/// The run has failed with `error` and undoes what it has done.
pub(crate) fn compensates(run: RunId, error: &Json, started_at: Timestamp) {
    COMPENSATES.run(&[&run, error, &started_at]);
}

/// A child that is open, and what its parent's call says is to become of it.
pub(crate) struct Child {
    pub(crate) run_id: RunId,
    pub(crate) priority: i16,
    pub(crate) owner: Oid,
    pub(crate) on_parent_end: Option<String>,
}

pub(crate) fn open_children(parent: RunId) -> Vec<Child> {
    CHILDREN.query(&[&parent], |row| Child {
        run_id: row.need(0),
        priority: row.need(1),
        owner: row.need(2),
        on_parent_end: row.get(3),
    })
}

/// The run that has gone on where this one was left.
pub(crate) fn next(run: RunId) -> Option<Brief> {
    NEXT.first(&[&run], |row| Brief {
        run_id: row.need(0),
        owner: row.need(1),
        priority: row.need(2),
        status: Status::from_name(row.text(3)),
    })
}
