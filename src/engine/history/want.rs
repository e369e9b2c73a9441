//! What a call asks of its history, and what it gets.

use crate::engine::ask::Ask;
use crate::engine::map::MapCall;
use crate::engine::step::StepSpec;
use crate::pg::{Interval, Json, PgError, Timestamp};
use crate::store::steps::Kind;

/// What a run's function wants that its history does not have.
pub(crate) enum Want {
    /// A step that was never begun, or (with `index`) one whose retry is due.
    Step {
        name: String,
        index: Option<usize>,
        spec: StepSpec,
    },
    Sleep {
        name: String,
        until: Wake,
    },
    Signal {
        name: String,
        ask: Ask,
    },
    Child {
        name: String,
        call: Json,
    },
    Map {
        name: String,
        call: Box<MapCall>,
    },
    Task {
        name: String,
        call: Json,
    },
    /// Enough of the calls begun before.
    Await {
        name: String,
        handles: Vec<i32>,
        first: usize,
        timeout: Option<Interval>,
    },
    /// The compensations registered so far; with `index` they are being run.
    Rollback {
        index: Option<usize>,
    },
    /// The end of this run, and a new one in its place.
    Continue {
        input: Json,
    },
    /// The answer of an open entry is not there yet.
    Blocked,
    /// Another call than the history has next.
    Diverged {
        expected: String,
        found: String,
    },
}

/// When a sleep ends.
pub(crate) enum Wake {
    After(Interval),
    At(Timestamp),
}

impl Want {
    /// How the call that wants it stands in the history.
    pub(crate) fn call(&self) -> Option<(Kind, &str)> {
        Some(match self {
            Self::Step { name, .. } => (Kind::Step, name),
            Self::Sleep { name, .. } => (Kind::Sleep, name),
            Self::Signal { name, .. } => (Kind::Signal, name),
            Self::Child { name, .. } => (Kind::Child, name),
            Self::Map { name, .. } => (Kind::Map, name),
            Self::Task { name, .. } => (Kind::Task, name),
            Self::Await { name, .. } => (Kind::Await, name),
            Self::Rollback { .. } => (Kind::Rollback, ROLLBACK),
            Self::Continue { .. } => (Kind::Continue, CONTINUE),
            Self::Blocked | Self::Diverged { .. } => return None,
        })
    }
}

/// Names under which calls without a name of their own are recorded.
pub(crate) const ROLLBACK: &str = "rollback";
pub(crate) const CONTINUE: &str = "continue as new";

/// What a `wf_*` call gets.
pub(crate) enum Answer {
    Value(Option<Json>),
    Raise(PgError),
    /// Unwind: the want is noted.
    Unwind,
    /// Go on without: nobody uses it. The want is noted.
    Ahead,
    /// Unwind once more, for the want of an earlier call: a handler has swallowed its unwinding.
    UnwindAgain,
}
