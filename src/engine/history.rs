//! The recorded history of a run while its function is replayed against it.
//!
//! Each `wf_*` call of the function asks for an answer by kind, name and occurrence. A recorded one is answered at once.
//! The first that is not is noted as what the run *wants*, and the function is unwound.

mod ahead;
mod standing;
mod want;

use std::collections::HashMap;

use pg_workflow_core::sparing::Sparing;

use crate::error::Error;
use crate::hub::hints;
use crate::pg::{Interval, Json, PgError, RunId, Timestamp, clock};
use crate::store::inbox;
use crate::store::steps::{self, Kind, StepRow, StepStatus};

use ahead::Ahead;
pub(crate) use standing::signal_name;
pub(crate) use want::{Answer, CONTINUE, ROLLBACK, Wake, Want};

struct Entry {
    row: StepRow,
    /// The replay that last asked for it, if it asks out of order.
    asked_in: u32,
    /// Not in the table yet: values and settings, which are written with the next thing that is.
    unwritten: bool,
}

/// Entries of one kind and name, in order of occurrence, and how many of them the current replay has asked for (kept
/// only while it asks out of order).
#[derive(Default)]
struct Named {
    entries: Vec<usize>,
    asked: usize,
}

/// History of one run.
pub(crate) struct History {
    run: RunId,
    entries: Vec<Entry>,
    index: HashMap<(Kind, String), Named>,
    /// Number of the current replay.
    replay: u32,
    /// Entries that it has asked for: while `in_order` the first ones.
    asked: usize,
    /// A deterministic function asks in the order in which it was recorded, so that the next answer is the next entry,
    /// without a look into the index. Only one with calls that were begun side by side does not.
    in_order: bool,
    want: Option<Want>,
    ahead: Ahead,
    /// The last signal taken of each name, as far as this process knows, and how often the oldest may be looked for from the
    /// start: rows of taken ones that an old snapshot keeps are not to be read again for each.
    taken: HashMap<String, i64>,
    from_start: Sparing,
}

impl History {
    /// The history of a run that has none.
    pub(crate) fn empty(run: RunId) -> Self {
        Self {
            run,
            entries: Vec::new(),
            index: HashMap::new(),
            replay: 0,
            asked: 0,
            in_order: true,
            want: None,
            ahead: Ahead::default(),
            taken: HashMap::new(),
            from_start: Sparing::default(),
        }
    }

    pub(crate) fn load(run: RunId) -> Self {
        let mut history = Self::empty(run);
        for row in steps::load(run) {
            history.push(row, false);
        }
        history
    }

    pub(crate) fn run(&self) -> RunId {
        self.run
    }

    /// Number of recorded calls.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Roughly the memory that it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        let json = |value: &Option<Json>| value.as_ref().map_or(0, Json::size);
        let entry = |entry: &Entry| {
            2 * size_of::<Entry>() + 2 * entry.row.name.len() + json(&entry.row.result) + json(&entry.row.error)
        };
        self.entries.iter().map(entry).sum()
    }

    fn push(&mut self, row: StepRow, unwritten: bool) -> usize {
        let position = self.entries.len();
        self.index
            .entry((row.kind, row.name.clone()))
            .or_default()
            .entries
            .push(position);
        self.entries.push(Entry {
            row,
            asked_in: 0,
            unwritten,
        });
        position
    }

    /// A replay begins: nothing asked yet.
    pub(crate) fn begin_replay(&mut self) {
        self.replay += 1;
        self.asked = 0;
        self.in_order = true;
        self.want = None;
        self.ahead = Ahead::default();
    }

    pub(crate) fn take_want(&mut self) -> Option<Want> {
        self.want.take()
    }

    /// True if the function has been left, or is to be, by an earlier call. A call that finds it so is not one to read on behind.
    fn is_left(&mut self) -> bool {
        self.ahead.stop();
        self.want.is_some()
    }

    pub(crate) fn note_want(&mut self, want: Want) {
        self.want = Some(want);
    }

    /// Finds the recorded entry for the next occurrence of `kind` and `name`.
    fn ask(&mut self, kind: Kind, name: &str) -> Option<usize> {
        if self.in_order {
            let position = self.asked;
            let entry = self.entries.get(position)?;
            if entry.row.kind == kind && entry.row.name == name {
                self.asked += 1;
                return Some(position);
            }
            self.leave_order();
        }
        let named = self.index.get_mut(&(kind, name.to_owned()))?;
        let position = *named.entries.get(named.asked)?;
        named.asked += 1;
        self.entries[position].asked_in = self.replay;
        self.asked += 1;
        Some(position)
    }

    /// From here on the replay asks by the index.
    fn leave_order(&mut self) {
        self.in_order = false;
        for entry in &mut self.entries[..self.asked] {
            entry.asked_in = self.replay;
        }
        for named in self.index.values_mut() {
            named.asked = named.entries.partition_point(|position| *position < self.asked);
        }
    }

    /// The answer to a call: recorded, or noted as a want made by `want`.
    pub(crate) fn answer(
        &mut self,
        kind: Kind,
        name: &str,
        want: impl FnOnce(Option<usize>) -> Result<Want, Error>,
    ) -> Result<Answer, Error> {
        if self.is_left() {
            return Ok(Answer::UnwindAgain);
        }
        let found = self.ask(kind, name);
        if let Some(position) = found {
            let row = &self.entries[position].row;
            match row.status {
                StepStatus::Completed => return Ok(Answer::Value(row.result.clone())),
                StepStatus::Failed | StepStatus::Cancelled => return Ok(Answer::Raise(row_error(row))),
                StepStatus::Retrying if row.due_at.is_none_or(|due| due <= clock()) => {
                    self.want = Some(want(Some(position))?);
                }
                // The turn goes on with it.
                StepStatus::Waiting if kind == Kind::Rollback => self.want = Some(want(Some(position))?),
                StepStatus::Registered | StepStatus::Waiting | StepStatus::Retrying => {
                    self.want = Some(Want::Blocked);
                }
            }
            return Ok(Answer::Unwind);
        }
        let wanted = want(None)?;
        self.want = Some(self.departure(&describe(kind, name)).unwrap_or(wanted));
        Ok(Answer::Unwind)
    }

    /// The answer to a call whose value is made on the spot: recorded, or made by `make` and recorded.
    pub(crate) fn value(&mut self, kind: Kind, name: &str, make: impl FnOnce() -> Json) -> Answer {
        match self.note(kind, name, |row| {
            row.result = Some(make());
            Ok(())
        }) {
            Ok(Ok(n)) => Answer::Value(self.entries[n as usize - 1].row.result.clone()),
            Ok(Err(unwind)) => unwind,
            Err(error) => Answer::Raise(error.into()),
        }
    }

    /// Records a call that does not wait for anything, with what `fill` makes of it, or finds it recorded; returns its number,
    /// or the unwinding.
    pub(crate) fn note(
        &mut self,
        kind: Kind,
        name: &str,
        fill: impl FnOnce(&mut StepRow) -> Result<(), Error>,
    ) -> Result<Result<i32, Answer>, Error> {
        if self.is_left() {
            return Ok(Err(Answer::UnwindAgain));
        }
        if let Some(position) = self.ask(kind, name) {
            return Ok(Ok(self.entries[position].row.n));
        }
        if let Some(departure) = self.departure(&describe(kind, name)) {
            self.want = Some(departure);
            return Ok(Err(Answer::Unwind));
        }
        let mut row = self.new_row(kind, name);
        fill(&mut row)?;
        let n = row.n;
        self.push(row, true);
        self.ask(kind, name);
        Ok(Ok(n))
    }

    /// Which of the calls `handles` are done as far as the function may know: recorded when it asked, or found now. With
    /// fewer than `first` done, that is what it wants.
    ///
    /// What it is told has to be the same in every replay. All of them done stays so, and need not be recorded.
    pub(crate) fn awaited(
        &mut self,
        name: &str,
        handles: &[i32],
        first: usize,
        timeout: Option<Interval>,
    ) -> Result<Result<Vec<i32>, Answer>, Error> {
        if self.is_left() {
            return Ok(Err(Answer::UnwindAgain));
        }
        for handle in handles {
            let entry = usize::try_from(*handle - 1).ok().and_then(|at| self.entries.get(at));
            if !entry.is_some_and(|entry| entry.row.begun) {
                return Err(Error::UnknownHandle(*handle));
            }
        }
        if let Some(position) = self.ask(Kind::Await, name) {
            let row = &self.entries[position].row;
            return Ok(match row.status {
                StepStatus::Completed => Ok(numbers(row.result.as_ref())),
                StepStatus::Failed | StepStatus::Cancelled => Err(Answer::Raise(row_error(row))),
                _ => {
                    self.want = Some(Want::Blocked);
                    Err(Answer::Unwind)
                }
            });
        }
        let done = self.done(handles);
        if done.len() == handles.len() {
            return Ok(Ok(done));
        }
        if done.len() >= first {
            let noted = self.note(Kind::Await, name, |row| {
                row.result = Some(Json::from_value(&done.clone().into()));
                Ok(())
            })?;
            return Ok(noted.map(|_| done));
        }
        let want = Want::Await {
            name: name.to_owned(),
            handles: handles.to_vec(),
            first,
            timeout,
        };
        self.want = Some(self.departure(&describe(Kind::Await, name)).unwrap_or(want));
        Ok(Err(Answer::Unwind))
    }

    /// The answer that the last entry now has, for the call that made it: it does not ask again.
    pub(crate) fn answer_last(&mut self) -> Answer {
        let Some(last) = self.entries.last() else {
            return Answer::Unwind;
        };
        let (kind, name, result) = (last.row.kind, last.row.name.clone(), last.row.result.clone());
        self.ask(kind, &name);
        Answer::Value(result)
    }

    /// If a call that is not recorded comes while recorded ones have not been asked for: the other path.
    fn departure(&self, found: &str) -> Option<Want> {
        self.unasked().map(|expected| Want::Diverged {
            expected,
            found: found.to_owned(),
        })
    }

    /// The first recorded call that the current replay has not asked for.
    pub(crate) fn unasked(&self) -> Option<String> {
        if self.asked == self.entries.len() {
            return None;
        }
        let entry = if self.in_order {
            self.entries.get(self.asked)?
        } else {
            self.entries.iter().find(|entry| entry.asked_in != self.replay)?
        };
        Some(describe(entry.row.kind, &entry.row.name))
    }

    /// A row for the next entry, completed, with no result.
    pub(crate) fn new_row(&self, kind: Kind, name: &str) -> StepRow {
        let before = self
            .index
            .get(&(kind, name.to_owned()))
            .map_or(0, |named| named.entries.len());
        StepRow {
            n: self.entries.len() as i32 + 1,
            kind,
            status: StepStatus::Completed,
            name: name.to_owned(),
            occurrence: before as i32 + 1,
            attempt: 1,
            due_at: None,
            begun: false,
            request: None,
            started_at: 0,
            result: None,
            error: None,
        }
    }

    pub(crate) fn has_unwritten(&self) -> bool {
        self.entries.last().is_some_and(|entry| entry.unwritten)
    }

    fn first_unwritten(&self) -> usize {
        self.entries
            .iter()
            .rposition(|entry| !entry.unwritten)
            .map_or(0, |last| last + 1)
    }

    /// Writes what was noted since the last entry that was written; returns where that begins.
    pub(crate) fn flush(&mut self, now: Timestamp) -> std::ops::Range<usize> {
        let first = self.first_unwritten();
        if self.entries[first..].iter().any(|entry| entry.row.kind.is_published()) {
            hints::published(self.run);
        }
        for entry in &mut self.entries[first..] {
            entry.row.started_at = now;
            let finished = (!entry.row.status.is_open()).then_some(now);
            steps::insert(self.run, &entry.row, finished);
            entry.unwritten = false;
        }
        first..self.entries.len()
    }

    /// Forgets values and settings that were not written: the next replay makes them anew.
    pub(crate) fn forget_unwritten(&mut self) {
        for entry in self.entries.drain(self.first_unwritten()..) {
            if let Some(named) = self.index.get_mut(&(entry.row.kind, entry.row.name)) {
                named.entries.pop();
            }
        }
    }

    /// Appends an entry to history and table.
    pub(crate) fn append(&mut self, mut row: StepRow, started_at: Timestamp, now: Timestamp) {
        row.started_at = started_at;
        let finished = (!row.status.is_open()).then_some(now);
        steps::insert(self.run, &row, finished);
        self.push(row, false);
    }

    /// Changes an open entry in history and table.
    pub(crate) fn settle(&mut self, position: usize, now: Timestamp, change: impl FnOnce(&mut StepRow)) {
        let row = &mut self.entries[position].row;
        change(row);
        let finished = (!row.status.is_open()).then_some(now);
        steps::update(self.run, row, finished);
    }

    /// Consumes the oldest signal of a name for entry `n`; returns its payload and number.
    pub(crate) fn take_signal(&mut self, name: &str, n: i32, now: Timestamp) -> Option<(Json, i64)> {
        let begun = clock();
        let after = self.taken.get(name).copied().filter(|_| !self.from_start.is_due(begun));
        let mut found = after.and_then(|after| inbox::take(self.run, name, n, now, after));
        if found.is_none() {
            found = inbox::take(self.run, name, n, now, i64::MIN);
            self.from_start.observe(begun, clock());
        }
        let (payload, seq) = found?;
        self.taken.insert(name.to_owned(), seq);
        Some((payload, seq))
    }
}

fn numbers(list: Option<&Json>) -> Vec<i32> {
    let list = list.map(Json::to_value).unwrap_or_default();
    let numbers = list.as_array().into_iter().flatten();
    numbers.filter_map(|n| n.as_i64().map(|n| n as i32)).collect()
}

pub(super) fn describe(kind: Kind, name: &str) -> String {
    format!("{} \"{name}\"", kind.name())
}

fn row_error(row: &StepRow) -> PgError {
    row.error.as_ref().map_or_else(
        || {
            PgError::new(
                crate::pg::errdata::INTERNAL_ERROR,
                format!("step \"{}\" failed", row.name),
            )
        },
        |error| PgError::from_json(&error.to_value()),
    )
}
