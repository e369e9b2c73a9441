//! What a turn does between two calls of the function: the one thing that it wants next.

use crate::engine::code::Code;
use crate::engine::history::{History, Wake, Want, describe};
use crate::engine::rehearsal;
use crate::engine::step::{self, Attempt, Company, Done, StepSpec};
use crate::engine::turn::{End, Turn, cancellation};
use crate::engine::{cache, limits, logs, metrics};
use crate::error::Error;
use crate::hub::metrics::Event;
use crate::hub::slots;
use crate::pg::{Json, PgError, Timestamp, clock, fault, interrupt, scope};
use crate::store::inbox;
use crate::store::logs::Place;
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
            return Some(self.expire(code, history, None));
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
            Want::Step { name, spec, .. } if spec.apart.is_some() => self.begin_apart(history, &name, &spec, now),
            Want::Step { name, index, spec } => self.run_step(code, history, &name, index, &spec, tried),
            Want::Sleep { name, until } => {
                let due = match until {
                    Wake::After(interval) => interval.after(now),
                    Wake::At(at) => at,
                };
                self.begin_wait(history, Kind::Sleep, &name, Some(due), now)
            }
            Want::Signal { name, ask } => self.begin_signal(code, history, &name, &ask, now),
            Want::Child { name, call } => self.begin_child(code, history, &name, call, now),
            Want::Map { name, call } => {
                self.begin_map(code, history, &name, &call, now);
                history.is_blocked().then(|| self.wait(history))
            }
            Want::Task { name, call } => self.begin_task(history, &name, call, now),
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
        let attempts = index.map_or(0, |i| history.row(i).attempt);
        let scripted = rehearsal::answer(name, || {
            let occurrence = |i| history.row(i).occurrence;
            let occurrence = index.map_or_else(|| history.new_row(Kind::Step, name).occurrence, occurrence);
            (occurrence, attempts + 1)
        });
        let tried = tried.or_else(|| scripted.map(|attempt| (attempt, clock())));
        let begun = index.map(|i| history.row(i).started_at);
        let (attempt, started) = match (tried, self.terms.forced.take()) {
            (Some(tried), _) => tried,
            (None, Some(error)) => (Attempt::Failed(error), clock()),
            (None, None) => {
                let Some(patience) = self.patience(name) else {
                    return Some(End::Alone);
                };
                let n = history.number(index);
                // What undoes is not to be cancelled.
                if index.is_none_or(|i| history.row(i).kind != Kind::Compensation) {
                    self.look_again(name, None, patience);
                }
                self.attempt(code, (n, 0), name, spec, patience, begun)
            }
        };
        let now = clock();
        let begun = begun.unwrap_or(started);
        let unmade = i32::from(matches!(attempt, Attempt::OutOfTime { made: false }));
        let number = attempts + 1 - unmade;
        let failure = attempt.failure();
        let (status, error, due) = match attempt {
            Attempt::TakesLong => {
                self.recall
                    .pace(|pace| pace.observe_step(self.run.def_id, name, PATIENCE));
                return Some(End::Alone);
            }
            Attempt::Conflict => return Some(End::Alone),
            Attempt::Done(done) => {
                let n = self.record_done(history, name, index, done, started);
                self.keep_messages(Place::of_call(n, number), name);
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
            Attempt::Expired => {
                let n = history.number(index);
                self.keep_messages(Place::of_call(n, number), name);
                let at = Some(describe(Kind::Step, name));
                return Some(self.expire(code, history, at));
            }
            Attempt::OutOfTime { .. } => {
                let last = index.and_then(|i| history.row(i).error.as_ref());
                let last = last.map(|error| PgError::from_json(&error.to_value()));
                let error = limits::step_timeout(code, spec, name, number, begun, last.as_ref());
                (StepStatus::Failed, Json::from_value(&error.to_json()), None)
            }
            Attempt::Failed(error) => match step::verdict(code, spec, number, &error) {
                Verdict::Retry(delay) => {
                    let due = now.saturating_add(delay);
                    if limits::step_until(code, spec, begun).is_some_and(|until| due >= until) {
                        let error = limits::step_timeout(code, spec, name, number, begun, Some(&error));
                        (StepStatus::Failed, Json::from_value(&error.to_json()), None)
                    } else {
                        (StepStatus::Retrying, step::passing_error(code, spec, &error), Some(due))
                    }
                }
                Verdict::Fail => (StepStatus::Failed, Json::from_value(&error.to_json()), None),
            },
        };
        let n = self.record(history, name, index, started, |row| {
            row.status = status;
            row.attempt -= unmade;
            row.error = Some(error);
            row.due_at = due;
        });
        self.keep_messages(Place::of_call(n, number), name);
        self.count_failure(failure, status == StepStatus::Retrying);
        self.set_timer(due, n);
        (status == StepStatus::Retrying).then(|| self.wait(history))
    }

    /// Counts an attempt that has failed with an SQLSTATE, if it has.
    pub(super) fn count_failure(&self, failure: Option<i32>, again: bool) {
        if let Some(code) = failure {
            metrics::note(&self.run, Event::StepFailed(code));
            if again {
                metrics::note(&self.run, Event::StepRetried);
            }
        }
    }

    fn is_undoing(&self, history: &History, index: Option<usize>) -> bool {
        index.is_some_and(|position| history.row(position).kind == Kind::Compensation)
    }

    /// Makes an attempt of a step, now, or finds its result in the cache; returns it with the time at which it began. `at`: number
    /// of the call, and item. `begun`: when the first attempt did, if there was one.
    pub(super) fn attempt(
        &mut self,
        code: &Code,
        at: (i32, i32),
        name: &str,
        spec: &StepSpec,
        patience: Option<i64>,
        begun: Option<Timestamp>,
    ) -> (Attempt, Timestamp) {
        let started = clock();
        let until = limits::step_until(code, spec, begun.unwrap_or(started));
        if until.is_some_and(|until| until <= started) {
            return (Attempt::OutOfTime { made: false }, started);
        }
        let owner = self.run.owner;
        if let Some(done) = spec.caching.as_ref().and_then(|caching| cache::find(owner, caching)) {
            return (Attempt::Done(done), started);
        }
        let company = Company {
            patience,
            fresh: self.fresh(),
        };
        self.occupy(code, name, patience);
        self.terms.steps += 1;
        let started = clock();
        let trace = self.span(at.0, at.1);
        let (attempt, raised) = logs::capture(|| step::attempt(&self.run, code, name, spec, company, until, trace));
        self.raised = raised;
        if let (Attempt::Done(done), Some(caching)) = (&attempt, &spec.caching) {
            cache::store(owner, caching, done.result.as_ref());
        }
        (attempt, started)
    }

    /// Before an attempt that is expected to take long: who has cancelled it between its claim and now has found nobody to
    /// interrupt. (A quick one is over soon anyway.) `branch_of`: the call that it is a branch of.
    pub(super) fn look_again(&self, name: &str, branch_of: Option<i32>, patience: Option<i64>) {
        if patience.is_some() || self.terms.until.is_none() || slots::stops_here() {
            return;
        }
        // In this order: whoever cancels it from here on finds this process.
        slots::set_busy(self.run.run_id, name, true);
        if scope::as_engine(|| inbox::has_missed(self.run.run_id, branch_of)) {
            slots::cancel_here();
        }
    }

    /// Records a step that has succeeded; returns its number in the history.
    pub(super) fn record_done(
        &mut self,
        history: &mut History,
        name: &str,
        index: Option<usize>,
        done: Done,
        started: Timestamp,
    ) -> i32 {
        let cached = done.origin.is_some();
        if !cached {
            let took = clock() - started;
            self.recall.pace(|pace| pace.observe_step(self.run.def_id, name, took));
            metrics::note(&self.run, Event::Step(took));
        }
        self.record(history, name, index, started, |row| {
            row.status = StepStatus::Completed;
            row.attempt -= i32::from(cached);
            row.request = done.origin.or(row.request.take());
            row.result = done.result;
            row.error = None;
            row.due_at = None;
        })
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
        fault("recording");
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
