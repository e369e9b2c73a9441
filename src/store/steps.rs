//! `steps`: the history of each run.

use super::statement;
use crate::pg::{Json, RunId, Timestamp};

statement!(LOAD, "steps_load", UUID);
statement!(STAND, "steps_stand", UUID);
statement!(
    INSERT,
    "step_insert",
    UUID,
    INT4,
    TEXT,
    TEXT,
    TEXT,
    INT4,
    INT4,
    JSONB,
    JSONB,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    BOOL,
    JSONB
);
statement!(
    UPDATE,
    "step_update",
    UUID,
    INT4,
    TEXT,
    INT4,
    JSONB,
    JSONB,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    JSONB
);
statement!(ABANDON, "steps_abandon", UUID, TIMESTAMPTZ);

/// What a recorded call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Step,
    Sleep,
    Signal,
    Child,
    Map,
    Task,
    Await,
    Compensation,
    Rollback,
    Continue,
    /// wf_now, wf_random, wf_uuid.
    Value,
    Set,
    Emit,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Sleep => "sleep",
            Self::Signal => "signal",
            Self::Child => "child",
            Self::Map => "map",
            Self::Task => "task",
            Self::Await => "await",
            Self::Compensation => "compensation",
            Self::Rollback => "rollback",
            Self::Continue => "continue",
            Self::Value => "value",
            Self::Set => "set",
            Self::Emit => "emit",
        }
    }

    /// Shown to the outside: others may wait for it.
    pub(crate) fn is_published(self) -> bool {
        matches!(self, Self::Set | Self::Emit)
    }

    pub(crate) fn from_name(name: &str) -> Self {
        match name {
            "sleep" => Self::Sleep,
            "signal" => Self::Signal,
            "child" => Self::Child,
            "map" => Self::Map,
            "task" => Self::Task,
            "await" => Self::Await,
            "compensation" => Self::Compensation,
            "rollback" => Self::Rollback,
            "continue" => Self::Continue,
            "value" => Self::Value,
            "set" => Self::Set,
            "emit" => Self::Emit,
            _ => Self::Step,
        }
    }
}

/// A row of the history.
#[derive(Clone)]
pub(crate) struct StepRow {
    pub(crate) n: i32,
    pub(crate) kind: Kind,
    pub(crate) status: StepStatus,
    pub(crate) name: String,
    pub(crate) occurrence: i32,
    pub(crate) attempt: i32,
    pub(crate) due_at: Option<Timestamp>,
    /// By wf_begin: the function does not wait for it where it makes the call.
    pub(crate) begun: bool,
    /// What was asked for, where an open call needs it without its function.
    pub(crate) request: Option<Json>,
    /// Set when the row is written.
    pub(crate) started_at: Timestamp,
    pub(crate) result: Option<Json>,
    pub(crate) error: Option<Json>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepStatus {
    /// A compensation that has not been run.
    Registered,
    Waiting,
    Retrying,
    Completed,
    Failed,
    Cancelled,
}

impl StepStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(crate) fn from_name(name: &str) -> Self {
        match name {
            "registered" => Self::Registered,
            "waiting" => Self::Waiting,
            "retrying" => Self::Retrying,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            _ => Self::Completed,
        }
    }

    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Retrying)
    }
}

/// The history of a run, in order.
pub(crate) fn load(run: RunId) -> Vec<StepRow> {
    LOAD.query(&[&run], |row| StepRow {
        n: row.need(0),
        kind: Kind::from_name(row.text(1)),
        status: StepStatus::from_name(row.text(2)),
        name: row.need(3),
        occurrence: row.need(4),
        attempt: row.need(5),
        due_at: row.get(6),
        result: row.get(7),
        error: row.get(8),
        begun: row.need(9),
        request: row.get(10),
        started_at: row.need(11),
    })
}

/// How far a run has come: calls recorded, and attempts made of them.
pub(crate) fn stand(run: RunId) -> Option<(i64, i64)> {
    STAND.first(&[&run], |row| (row.need(0), row.need(1)))
}

/// Appends to the history. `finished_at` is NULL for a step that is still open.
pub(crate) fn insert(run: RunId, step: &StepRow, finished_at: Option<Timestamp>) {
    INSERT.run(&[
        &run,
        &step.n,
        &step.kind.name(),
        &step.status.name(),
        &step.name,
        &step.occurrence,
        &step.attempt,
        &step.result,
        &step.error,
        &step.started_at,
        &finished_at,
        &step.due_at,
        &step.begun,
        &step.request,
    ]);
}

/// Writes what has become of an open step.
pub(crate) fn update(run: RunId, step: &StepRow, finished_at: Option<Timestamp>) {
    UPDATE.run(&[
        &run,
        &step.n,
        &step.status.name(),
        &step.attempt,
        &step.result,
        &step.error,
        &finished_at,
        &step.due_at,
        &step.request,
    ]);
}

/// The run ends while steps are open: they have come to nothing, and so have its waits.
pub(crate) fn abandon(run: RunId, at: Timestamp) {
    ABANDON.run(&[&run, &at]);
}
