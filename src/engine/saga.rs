//! Compensations: what undoes a step, registered behind it by `wf_compensate`.
//!
//! When the workflow fails or is cancelled, or asks for it (`wf_rollback`), those registered so far are run as steps of their
//! own, the last one first, each with its retries. One that fails for good is recorded, and the rest go on. The entry
//! of the registration is the record of the run.

use crate::engine::calls::{StepCall, deliver, with_history};
use crate::engine::code::Code;
use crate::engine::history::{History, ROLLBACK, Want};
use crate::engine::step::StepSpec;
use crate::engine::turn::{End, Turn};
use crate::engine::{child, limits, metrics};
use crate::error::{CANCELLED, Error};
use crate::pg::{Json, PgError, Timestamp, clock, fault};
use crate::store::runs::{self, Status};
use crate::store::steps::{Kind, StepStatus};
use crate::store::timers;

/// `wf_compensate`: registers what undoes a step.
pub(crate) fn register(name: &str, read: impl FnOnce() -> Result<StepCall, Error>) -> Result<(), Error> {
    let noted = with_history("wf_compensate", |history| {
        history.note(Kind::Compensation, name, |row| {
            row.status = StepStatus::Registered;
            row.attempt = 0;
            row.request = Some(read()?.to_request(true)?);
            Ok(())
        })
    })?;
    if let Err(unwind) = noted {
        deliver(unwind)?;
    }
    Ok(())
}

/// `wf_rollback`: runs what is registered.
pub(crate) fn rollback() -> Result<Option<Json>, Error> {
    let answer = with_history("wf_rollback", |history| {
        history.answer(Kind::Rollback, ROLLBACK, |index| Ok(Want::Rollback { index }))
    })?;
    deliver(answer)
}

impl Turn {
    /// Runs the next compensation. `None`: there is none left. `Some(None)`: one was run, for better or worse.
    fn undo_next(&mut self, code: &Code, history: &mut History) -> Option<Option<End>> {
        let position = history.next_compensation()?;
        let row = history.row(position);
        if row.status == StepStatus::Retrying && row.due_at.is_some_and(|due| due > clock()) {
            return Some(Some(self.wait(history)));
        }
        let name = row.name.clone();
        let mut spec = row
            .request
            .as_ref()
            .map(|request| StepSpec::from_request(request, None))?;
        // What undoes has the time that it takes.
        spec.total_timeout = Some(limits::UNLIMITED);
        Some(self.run_step(code, history, &name, Some(position), &spec, None))
    }

    /// `wf_rollback` stands at its call until all is undone. `None`: it is.
    pub(super) fn roll_back(
        &mut self,
        code: &Code,
        history: &mut History,
        index: Option<usize>,
        now: Timestamp,
    ) -> Option<End> {
        let position = index.unwrap_or_else(|| {
            let mut row = history.new_row(Kind::Rollback, ROLLBACK);
            row.status = StepStatus::Waiting;
            history.append(row, now, now);
            self.wrote = true;
            history.len() - 1
        });
        while let Some(undone) = self.undo_next(code, history) {
            if undone.is_some() {
                return undone;
            }
            if self.is_over() {
                return Some(End::Yield);
            }
        }
        let summary = Json::from_value(&history.compensated());
        self.wrote = true;
        history.settle(position, clock(), |row| {
            row.status = StepStatus::Completed;
            row.result = Some(summary);
        });
        None
    }

    /// The workflow has come to an end by an error: undoes what is registered, then closes the run.
    pub(super) fn fail(&mut self, code: &Code, mut history: History, status: Status, error: &PgError) -> End {
        // What was begun by the way is recorded, and not launched any more.
        let now = clock();
        history.flush(now);
        history.abandon(now);
        if history.next_compensation().is_none() {
            return self.close(status, None, Some(error));
        }
        metrics::begun(&self.run, self.started);
        runs::compensates(self.run.run_id, &Json::from_value(&error.to_json()), self.started);
        fault("compensates");
        self.wrote = true;
        if let Some(deadline) = self.run.deadline.filter(|deadline| *deadline > now) {
            timers::delete(deadline, self.run.run_id, timers::DEADLINE);
        }
        // The children go before what they were started for is undone.
        if std::mem::take(&mut self.has_children) {
            child::release(&self.run);
        }
        self.compensate(code, history)
    }

    /// Goes on undoing.
    pub(super) fn compensate(&mut self, code: &Code, mut history: History) -> End {
        self.compensating = true;
        // It has been told; and what undoes is not bound by a time that has passed.
        self.cancel = None;
        self.run.deadline = None;
        while let Some(undone) = self.undo_next(code, &mut history) {
            match undone {
                Some(End::Alone) => return self.want_alone(history),
                Some(end) => return end,
                None if self.is_over() => return self.yield_turn(history),
                None => {}
            }
        }
        fault("compensated");
        let mut error = runs::error(self.run.run_id)
            .map(|error| error.to_value())
            .unwrap_or_default();
        let status = if PgError::from_json(&error).sqlstate == CANCELLED {
            Status::Cancelled
        } else {
            Status::Failed
        };
        error["compensated"] = history.compensated();
        self.close_with(status, None, Some(&Json::from_value(&error)))
    }
}
