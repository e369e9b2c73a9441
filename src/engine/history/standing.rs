//! What a run stands at, by its history: which calls are open, what has become of those that were begun.

use super::{Entry, History, describe, row_error};
use crate::engine::{seats, task};
use crate::pg::{Json, PgError, Timestamp};
use crate::store::steps::{self, Kind, StepRow, StepStatus};

/// The signal that a wait called `name` is for, by its request.
pub(crate) fn signal_name(request: Option<&Json>, name: &str) -> String {
    let signal = request.and_then(|request| request.field("signal"));
    let signal = signal.map(|signal| signal.to_value());
    signal
        .as_ref()
        .and_then(|signal| signal.as_str())
        .unwrap_or(name)
        .to_owned()
}

impl History {
    /// Those of the calls `handles` that are done.
    pub(crate) fn done(&self, handles: &[i32]) -> Vec<i32> {
        let is_done = |handle: &&i32| !self.entries[**handle as usize - 1].row.status.is_open();
        handles.iter().filter(is_done).copied().collect()
    }

    /// The position of call `n` if it is open.
    pub(crate) fn open_at(&self, n: i32) -> Option<usize> {
        let position = usize::try_from(n - 1).ok()?;
        self.entries.get(position)?.row.status.is_open().then_some(position)
    }

    /// Name of a begun call.
    pub(crate) fn name_of(&self, handle: i32) -> &str {
        &self.entries[handle as usize - 1].row.name
    }

    /// A begun call in words.
    pub(crate) fn describe(&self, handle: i32) -> String {
        let row = &self.entries[handle as usize - 1].row;
        describe(row.kind, &row.name)
    }

    /// The signal that an entry waits for: a begun wait may have another name.
    pub(crate) fn signal_name(&self, position: usize) -> String {
        let row = &self.entries[position].row;
        signal_name(row.request.as_ref(), &row.name)
    }

    /// What a begun call that is done has come to.
    pub(crate) fn outcome(&self, handle: i32) -> Result<Option<Json>, PgError> {
        let row = &self.entries[handle as usize - 1].row;
        match row.status {
            StepStatus::Failed | StepStatus::Cancelled => Err(row_error(row)),
            _ => Ok(row.result.clone()),
        }
    }

    pub(crate) fn row(&self, position: usize) -> &StepRow {
        &self.entries[position].row
    }

    /// Number of the entry at a position; without one that of the entry which comes next.
    pub(crate) fn number(&self, position: Option<usize>) -> i32 {
        position.map_or(self.len() as i32 + 1, |position| self.row(position).n)
    }

    /// The compensation that is next to be run: the last one that is registered, or is being tried.
    pub(crate) fn next_compensation(&self) -> Option<usize> {
        let of_kind = |entry: &Entry| entry.row.kind == Kind::Compensation;
        let due = |entry: &Entry| matches!(entry.row.status, StepStatus::Registered | StepStatus::Retrying);
        self.entries.iter().rposition(|entry| of_kind(entry) && due(entry))
    }

    /// What has become of the compensations that were run, in the order in which they were.
    pub(crate) fn compensated(&self) -> serde_json::Value {
        let run = self.entries.iter().rev().map(|entry| &entry.row).filter(|row| {
            row.kind == Kind::Compensation && matches!(row.status, StepStatus::Completed | StepStatus::Failed)
        });
        run.map(|row| {
            serde_json::json!({
                "name": row.name,
                "status": row.status.name(),
                "error": row.error.as_ref().and_then(|error| error.to_value()["message"].as_str().map(str::to_owned)),
            })
        })
        .collect()
    }

    /// True if there may be answers of others to be taken.
    pub(crate) fn expects_answers(&self) -> bool {
        let answered = |row: &StepRow| {
            let apart = row.kind == Kind::Step && row.status == StepStatus::Waiting;
            row.begun || apart || matches!(row.kind, Kind::Child | Kind::Map | Kind::Task)
        };
        self.entries
            .iter()
            .any(|entry| entry.row.status.is_open() && answered(&entry.row))
    }

    /// True if the run may have started children.
    pub(crate) fn has_children(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| matches!(entry.row.kind, Kind::Child | Kind::Map))
    }

    /// True if the function stands at a call that is open, and has not come to its end.
    pub(crate) fn is_blocked(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.row.status.is_open() && !entry.row.begun)
    }

    /// Positions of the begun calls that the run does not end without.
    pub(crate) fn lingering(&self) -> Vec<usize> {
        let waits = |row: &StepRow| match row.kind {
            Kind::Step | Kind::Task => true,
            Kind::Child => {
                let policy = row
                    .request
                    .as_ref()
                    .map(|request| request.to_value()["on_parent_end"].clone());
                policy.is_some_and(|policy| policy == "wait")
            }
            _ => false,
        };
        let open = self.open().into_iter();
        open.filter(|position| waits(&self.entries[*position].row)).collect()
    }

    /// The run ends, or is about to: what is open has come to nothing.
    pub(crate) fn abandon(&mut self, now: Timestamp) {
        let open = self.open();
        if !open.is_empty() {
            steps::abandon(self.run, now);
        }
        for position in open {
            let row = &mut self.entries[position].row;
            row.status = StepStatus::Cancelled;
            row.due_at = None;
            match row.kind {
                Kind::Task => task::withdraw(self.run, Some(row.n), now),
                Kind::Step | Kind::Map => seats::withdraw(row.request.as_ref(), self.run, row.n),
                _ => {}
            }
        }
    }

    /// Positions of the entries that wait for something.
    pub(crate) fn open(&self) -> Vec<usize> {
        (0..self.entries.len())
            .filter(|i| self.entries[*i].row.status.is_open())
            .collect()
    }
}
