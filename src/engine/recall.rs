//! What a process remembers from turn to turn. All of it is there to save time: a process that has forgotten it reads the
//! tables and comes to the same end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use pg_workflow_core::batch::Pace;
use pg_workflow_core::sparing::Sparing;

use crate::engine::command::Command;
use crate::engine::history::History;
use crate::engine::passage::Interrupted;
use crate::engine::pause::Pauses;
use crate::pg::RunId;
use crate::store::ready::Position;

/// Memory of one process, shared by its batches and turns.
#[derive(Default)]
pub(crate) struct Recall {
    pace: RefCell<Pace>,
    queue: RefCell<Queue>,
    histories: RefCell<Histories>,
    interrupted: RefCell<Option<Interrupted>>,
    setback: RefCell<Option<Setback>>,
    command: RefCell<Option<Command>>,
    pauses: RefCell<Pauses>,
    went_on: Cell<bool>,
}

/// Where the next claims are looked for. Rows that were served are deleted, but while somebody holds an old snapshot
/// every look from the start of the queue has to pass over them again: so the usual look begins where the last ended,
/// and those from the start, which find what has come in before that place, are spared.
#[derive(Clone, Copy)]
pub(crate) struct Queue {
    pub(crate) after: Position,
    pub(crate) from_start: Sparing,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            after: Position::START,
            from_start: Sparing::default(),
        }
    }
}

/// A procedure was left with steps that were not committed: they are lost, and the next time a commit comes before.
pub(crate) struct Setback {
    pub(crate) run: RunId,
    /// Length of the history at which it was left.
    pub(crate) length: usize,
    /// How often in a row.
    pub(crate) times: u32,
}

/// Bytes of histories that a process keeps, and number of runs.
const KEPT_BYTES: usize = 32 * 1024 * 1024;
const KEPT_RUNS: usize = 64;

/// Setbacks in a row after which a run commits each step: it does not take the same way twice.
const ASTRAY: u32 = 3;

/// Histories of runs that are not at their end, the last used last.
#[derive(Default)]
struct Histories {
    kept: VecDeque<Kept>,
    bytes: usize,
}

struct Kept {
    run: RunId,
    version: i32,
    bytes: usize,
    history: History,
}

impl Recall {
    /// A turn has committed in its middle.
    pub(crate) fn note_commit(&self) {
        self.went_on.set(true);
    }

    /// True if a turn has committed in its middle since the last call.
    pub(crate) fn take_commits(&self) -> bool {
        self.went_on.take()
    }

    pub(crate) fn pace<T>(&self, f: impl FnOnce(&mut Pace) -> T) -> T {
        f(&mut self.pace.borrow_mut())
    }

    pub(crate) fn queue<T>(&self, f: impl FnOnce(&mut Queue) -> T) -> T {
        f(&mut self.queue.borrow_mut())
    }

    /// What is paused. Unlike the rest it is no memory only: see [`Pauses`].
    pub(super) fn pauses<T>(&self, f: impl FnOnce(&mut Pauses) -> T) -> T {
        f(&mut self.pauses.borrow_mut())
    }

    /// Keeps the history of a run for its next turn. `version` is that of the run's row once this transaction has
    /// committed: whoever changes a history writes that row, so an unchanged row means an unchanged history.
    pub(crate) fn keep(&self, run: RunId, version: i32, mut history: History) {
        history.forget_unwritten();
        let bytes = history.size();
        if bytes > KEPT_BYTES {
            return;
        }
        let mut histories = self.histories.borrow_mut();
        histories.forget(run);
        histories.bytes += bytes;
        histories.kept.push_back(Kept {
            run,
            version,
            bytes,
            history,
        });
        while histories.bytes > KEPT_BYTES || histories.kept.len() > KEPT_RUNS {
            let Some(oldest) = histories.kept.pop_front() else {
                return;
            };
            histories.bytes -= oldest.bytes;
        }
    }

    /// Takes the history of a run out, if it is still that of the row's version.
    pub(crate) fn history(&self, run: RunId, version: i32) -> Option<History> {
        let kept = self.histories.borrow_mut().forget(run)?;
        (kept.version == version).then_some(kept.history)
    }

    /// The turn to go on with in the next transaction, after the error that ends this one.
    pub(crate) fn interrupt(&self, interrupted: Interrupted) {
        *self.interrupted.borrow_mut() = Some(interrupted);
    }

    pub(crate) fn take_interrupted(&self) -> Option<Interrupted> {
        self.interrupted.borrow_mut().take()
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.borrow().is_some()
    }

    /// A command to be run once this transaction has committed.
    pub(crate) fn launch(&self, command: Command) {
        *self.command.borrow_mut() = Some(command);
    }

    pub(crate) fn take_command(&self) -> Option<Command> {
        self.command.borrow_mut().take()
    }

    pub(crate) fn has_command(&self) -> bool {
        self.command.borrow().is_some()
    }

    /// A procedure was left and has lost its last steps.
    pub(crate) fn set_back(&self, run: RunId, length: usize) {
        let mut setback = self.setback.borrow_mut();
        let before = setback.take().filter(|other| other.run == run);
        let times = before.map_or(0, |other| other.times) + 1;
        *setback = Some(Setback { run, length, times });
    }

    /// True if a run is to commit now that its history has this length.
    pub(crate) fn commits_at(&self, run: RunId, length: usize) -> bool {
        let setback = self.setback.borrow();
        setback
            .as_ref()
            .is_some_and(|back| back.run == run && (back.length <= length || back.times >= ASTRAY))
    }

    /// A commit of a run has come through. Once it has the length at which it was left, what was lost is done again.
    pub(crate) fn recovered(&self, run: RunId, length: usize) {
        self.setback
            .borrow_mut()
            .take_if(|back| back.run == run && back.length <= length && back.times < ASTRAY);
    }
}

impl Histories {
    fn forget(&mut self, run: RunId) -> Option<Kept> {
        let place = self.kept.iter().position(|kept| kept.run == run)?;
        let kept = self.kept.remove(place)?;
        self.bytes -= kept.bytes;
        Some(kept)
    }
}
