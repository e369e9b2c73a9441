//! What a turn does between two calls of the function: the one thing that it wants next.

use crate::engine::code::Code;
use crate::engine::history::{History, Wake, Want};
use crate::engine::rehearsal;
use crate::engine::step::{self, Attempt, Company, StepSpec};
use crate::engine::turn::{End, Turn, cancellation};
use crate::error::Error;
use crate::hub::slots;
use crate::pg::{Json, PgError, Timestamp, clock, interrupt};
use crate::store::inbox;
use crate::store::runs::Status;
use crate::store::steps::{Kind, StepRow, StepStatus};

use pg_workflow_core::batch::PATIENCE;
use pg_workflow_core::policy::Verdict;

impl Turn {
    /// Does what the function wants. `None`: there is a new answer, replay again.
    pub(super) fn fulfil(&mut self, code: &Code, history: &mut History, want: Want, now: Timestamp) -> Option<End> {
        let tried = self.tried.take();
        self.write_down(code, history, now);
        if self.expired(now) {
            return Some(self.expire(code, history));
        }
        self.notice_cancel();
        if self.cancel.is_some() && history.is_blocked() {
            // Delivered at what the run waits for (or was about to try again), not at a later call.
            self.settle_open(code, history, now);
            return None;
        }
        let call = want.call().map(|(kind, name)| (kind, name.to_owned()));
        if let Some((kind, name)) = call
            && let Some(reason) = self.cancel.clone()
        {
            // What it has begun is cancelled with it.
            self.settle_open(code, history, now);
            self.cancel = None;
            self.record_cancelled(history, kind, &name, reason, now);
            return None;
        }
        match want {
            Want::Diverged { expected, found } => {
                let error = Error::Diverged { expected, found }.into();
                let history = std::mem::replace(history, History::empty(self.run.run_id));
                Some(self.fail(code, history, Status::Failed, &error))
            }
            Want::Blocked => Some(self.wait(history)),
            Want::Step { name, index, spec } => self.run_step(code, history, &name, index, &spec, tried),
            Want::Sleep { name, until } => {
                let due = match until {
                    Wake::After(interval) => interval.after(now),
                    Wake::At(at) => at,
                };
                self.begin_wait(history, Kind::Sleep, &name, Some(due), now)
            }
            Want::Signal { name, timeout } => self.begin_signal(code, history, &name, timeout, now),
            Want::Child { name, call } => self.begin_child(code, history, &name, call, now),
            Want::Map { name, call } => {
                self.begin_map(code, history, &name, &call, now);
                history.is_blocked().then(|| self.wait(history))
            }
            Want::Task { name, call } => Some(self.begin_task(history, &name, call, now)),
            Want::Await {
                name,
                handles,
                first,
                timeout,
            } => self.begin_await(history, &name, &handles, first, timeout, now),
            Want::Rollback { index } => self.roll_back(code, history, index, now),
            Want::Continue { input } => self.continue_as_new(code, history, &input),
        }
    }

    /// Looks for a cancel that was committed since the turn began; true if there is one to deliver.
    fn notice_cancel(&mut self) -> bool {
        if self.cancel.is_none() && slots::take_cancel() {
            self.cancel = inbox::take_cancels(self.run.run_id).into_iter().next();
            // What came with the request is not to hit the replay at which it is delivered.
            interrupt::withdraw();
        }
        self.cancel.is_some()
    }

    /// The call that the function stands at fails with an error.
    pub(super) fn record_failed(&mut self, history: &mut History, kind: Kind, name: &str, error: &PgError) {
        let now = clock();
        let mut row = history.new_row(kind, name);
        row.status = StepStatus::Failed;
        row.error = Some(Json::from_value(&error.to_json()));
        history.append(row, now, now);
        self.wrote = true;
    }

    /// The call that the function stands at fails with WF002.
    fn record_cancelled(
        &mut self,
        history: &mut History,
        kind: Kind,
        name: &str,
        reason: Option<String>,
        now: Timestamp,
    ) {
        let mut row = history.new_row(kind, name);
        row.status = StepStatus::Cancelled;
        row.error = Some(cancellation(reason));
        history.append(row, now, now);
        self.wrote = true;
    }

    pub(super) fn run_step(
        &mut self,
        code: &Code,
        history: &mut History,
        name: &str,
        index: Option<usize>,
        spec: &StepSpec,
        tried: Option<(Attempt, Timestamp)>,
    ) -> Option<End> {
        let number = index.map_or(0, |i| history.row(i).attempt) + 1;
        let scripted = rehearsal::answer(name, || {
            let occurrence = |i| history.row(i).occurrence;
            let occurrence = index.map_or_else(|| history.new_row(Kind::Step, name).occurrence, occurrence);
            (occurrence, number)
        });
        let tried = tried.or_else(|| scripted.map(|attempt| (attempt, clock())));
        let (attempt, started) = match (tried, self.terms.forced.take()) {
            (Some(tried), _) => tried,
            (None, Some(error)) => (Attempt::Failed(error), clock()),
            (None, None) => {
                let Some(patience) = self.patience(name) else {
                    return Some(End::Alone);
                };
                self.attempt(code, name, spec, patience)
            }
        };
        let now = clock();
        let (status, error, due) = match attempt {
            Attempt::TakesLong => {
                self.recall
                    .pace(|pace| pace.observe_step(self.run.def_id, name, PATIENCE));
                return Some(End::Alone);
            }
            Attempt::Conflict => return Some(End::Alone),
            Attempt::Done(result) => {
                self.record_done(history, name, index, result, started);
                return None;
            }
            // What undoes is not to be cancelled: once more.
            Attempt::Cancelled if self.is_undoing(history, index) => {
                inbox::take_cancels(self.run.run_id);
                return Some(End::Alone);
            }
            Attempt::Cancelled => match inbox::take_cancels(self.run.run_id).into_iter().next() {
                Some(reason) => (StepStatus::Cancelled, cancellation(reason), None),
                // Its row was found, and the cancel delivered, before the interrupt came: once is enough.
                None => return Some(End::Alone),
            },
            Attempt::Expired => return Some(self.expire(code, history)),
            Attempt::Failed(error) => {
                let due = match step::verdict(code, spec, number, &error) {
                    Verdict::Retry(delay) => Some(now.saturating_add(delay)),
                    Verdict::Fail => None,
                };
                let status = if due.is_some() {
                    StepStatus::Retrying
                } else {
                    StepStatus::Failed
                };
                (status, Json::from_value(&error.to_json()), due)
            }
        };
        let n = self.record(history, name, index, started, |row| {
            row.status = status;
            row.error = Some(error);
            row.due_at = due;
        });
        self.set_timer(due, n);
        (status == StepStatus::Retrying).then(|| self.wait(history))
    }

    fn is_undoing(&self, history: &History, index: Option<usize>) -> bool {
        index.is_some_and(|position| history.row(position).kind == Kind::Compensation)
    }

    /// Makes an attempt of a step, now; returns it with the time at which it began.
    pub(super) fn attempt(
        &mut self,
        code: &Code,
        name: &str,
        spec: &StepSpec,
        patience: Option<i64>,
    ) -> (Attempt, Timestamp) {
        let company = Company {
            patience,
            fresh: self.fresh(),
        };
        self.occupy(code, name, patience);
        self.terms.steps += 1;
        let started = clock();
        (step::attempt(&self.run, code, name, spec, company), started)
    }

    /// Records a step that has succeeded.
    pub(super) fn record_done(
        &mut self,
        history: &mut History,
        name: &str,
        index: Option<usize>,
        result: Option<Json>,
        started: Timestamp,
    ) {
        let took = clock() - started;
        self.recall.pace(|pace| pace.observe_step(self.run.def_id, name, took));
        self.record(history, name, index, started, |row| {
            row.status = StepStatus::Completed;
            row.result = result;
            row.error = None;
            row.due_at = None;
        });
    }

    /// Writes what has become of one more attempt of a step; returns its number in the history.
    fn record(
        &mut self,
        history: &mut History,
        name: &str,
        index: Option<usize>,
        started: Timestamp,
        change: impl FnOnce(&mut StepRow),
    ) -> i32 {
        self.wrote = true;
        let now = clock();
        match index {
            Some(position) => {
                history.settle(position, now, |row| {
                    row.attempt += 1;
                    change(row);
                });
                history.row(position).n
            }
            None => {
                let mut row = history.new_row(Kind::Step, name);
                change(&mut row);
                let n = row.n;
                history.append(row, started, now);
                n
            }
        }
    }
}
