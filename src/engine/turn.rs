//! A turn: everything that can be done for one run now. Replay the function, do what it wants, replay, until it ends or
//! has to wait.
//!
//! The caller owns the transaction, has locked the run's row and runs as the engine. The function runs in a
//! subtransaction that is always rolled back, read-only: it decides and never acts. Each step runs in a subtransaction
//! of its own that is kept; its record is written beside it. So whenever the caller commits, effects and history agree.

use std::rc::Rc;

use pg_workflow_core::batch::{MAX_STEPS, PATIENCE, Pace};
use pg_workflow_core::policy::Verdict;

use crate::engine::code::{self, Code};
use crate::engine::history::{History, Wake, Want};
use crate::engine::step::{self, Attempt, Company, StepSpec};
use crate::engine::{calls, target};
use crate::error::{CANCELLED, Error};
use crate::hub::{hints, slots};
use crate::pg::errdata::QUERY_CANCELED;
use crate::pg::{Json, PgError, Timestamp, catalog, clock, guard, interrupt, process, scope, txn};
use crate::store::runs::{self, Locked, Status};
use crate::store::steps::{Kind, StepStatus};
use crate::store::{inbox, ready, steps, timers};

/// What the transaction around a turn is like.
pub(crate) struct Around<'a> {
    pub(crate) pace: &'a mut Pace,
    /// No other run is in this transaction.
    pub(crate) alone: bool,
    /// When to commit what there is; `None` where the caller cannot commit.
    pub(crate) until: Option<Timestamp>,
    /// The transaction of the last attempt failed at its commit: the next step of this run failed with this.
    pub(crate) forced: Option<PgError>,
    /// Steps run in this transaction so far.
    pub(crate) steps: &'a mut u32,
}

impl Around<'_> {
    /// Time to commit what there is.
    pub(crate) fn is_over(&self) -> bool {
        self.until
            .is_some_and(|until| *self.steps >= MAX_STEPS || clock() >= until)
    }
}

/// Time that the function of a cancelled run has for its way to the call at which it is told, in microseconds.
const CANCEL_PATIENCE: i64 = 1_000_000;

/// How a turn ended. All but `Alone` have written whatever there was to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The run has ended, or waits for something that will make it ready.
    Settled,
    /// There is more to do at once, in the next transaction.
    Yield,
    /// The next thing to do wants a transaction of its own.
    Alone,
}

/// Takes a turn for `run`, which is open.
pub(crate) fn take(run: Locked, around: &mut Around) -> End {
    let now = clock();
    let mut turn = Turn {
        started: run.started_at.unwrap_or(now),
        cancel: None,
        generation: 0,
        wrote: false,
        run,
        around,
    };
    if turn.run.controlled {
        turn.cancel = inbox::take_cancels(turn.run.run_id).into_iter().next();
    }
    match turn.prepare(now) {
        Ok(Some((code, history))) => turn.play(&code, history),
        Ok(None) => End::Settled,
        Err(error) => turn.close(Status::Failed, None, Some(&error)),
    }
}

/// Ends a run that cannot be worked on at all.
pub(crate) fn give_up(run: &Locked, error: &PgError) {
    let now = clock();
    steps::abandon(run.run_id, now);
    end(run, run.started_at.unwrap_or(now), Status::Failed, None, Some(error));
}

/// Writes the end of a run, takes its deadline's timer away and tells who waits for it.
fn end(run: &Locked, started: Timestamp, status: Status, result: Option<&Json>, error: Option<&PgError>) {
    let error = error.map(|error| Json::from_value(&error.to_json()));
    let now = clock();
    runs::close(run.run_id, status, result, error.as_ref(), started, now);
    if let Some(deadline) = run.deadline.filter(|deadline| *deadline > now) {
        timers::delete(deadline, run.run_id, timers::DEADLINE);
    }
    hints::ended(run.run_id);
}

pub(super) struct Turn<'a, 'b> {
    pub(super) run: Locked,
    pub(super) around: &'a mut Around<'b>,
    pub(super) started: Timestamp,
    /// A cancel that has not been delivered, with its reason.
    pub(super) cancel: Option<Option<String>>,
    /// State of the function catalogue for which the code was last found to be the right version.
    pub(super) generation: u64,
    /// This turn has written something that only a commit makes durable.
    pub(super) wrote: bool,
}

type Ready = (Rc<Code>, History);
type Outcome = Result<Option<Json>, PgError>;

impl Turn<'_, '_> {
    /// What comes before the first replay. `None`: nothing to do now.
    fn prepare(&mut self, now: Timestamp) -> Result<Option<Ready>, PgError> {
        let pending = self.run.status == Status::Pending;
        if pending && self.cancel.is_some() {
            let reason = self.cancel.take().flatten();
            self.close(Status::Cancelled, None, Some(&Error::Cancelled { reason }.into()));
            return Ok(None);
        }
        if pending && self.run.start_at.is_some_and(|start| start > now) {
            return Ok(None);
        }
        self.generation = catalog::functions_generation();
        let code = code::load(self.run.def_id, self.run.owner)?;
        // An old version was restored, under a lock that others wait for.
        self.wrote |= self.generation != catalog::functions_generation();
        if self.expired(now) {
            self.expire(&code);
            return Ok(None);
        }
        if pending {
            return Ok(Some((code, History::empty(self.run.run_id))));
        }
        let mut history = History::load(self.run.run_id);
        let news = self.settle_open(&mut history, now);
        // A hint for nothing: back to waiting, without a replay.
        if self.run.status == Status::Waiting && !news {
            return Ok(None);
        }
        Ok(Some((code, history)))
    }

    /// Replays until the run ends, waits or has to yield.
    fn play(&mut self, code: &Code, mut history: History) -> End {
        loop {
            txn::check_for_interrupts();
            let Some(patience) = self.patience("") else {
                return self.want_alone();
            };
            let (outcome, fired, after) = self.replay(code, history, patience);
            history = after;
            match self.is_still_right(code) {
                Ok(true) => {}
                // What it wanted is forgotten: it may have been another version that wanted it.
                Ok(false) => return self.want_alone(),
                Err(error) => return self.close(Status::Failed, None, Some(&error)),
            }
            let now = clock();
            if let Some(want) = history.take_want() {
                // Whatever the function made of the unwinding (an error, or a value of a language that swallowed it).
                match self.fulfil(code, &mut history, want, now) {
                    Some(end) => return end,
                    None => {
                        if self.around.is_over() {
                            return self.yield_turn();
                        }
                        continue;
                    }
                }
            }
            return match outcome {
                Ok(result) => self.returned(&mut history, result, now),
                Err(error) if error.sqlstate == QUERY_CANCELED && slots::take_cancel() => {
                    // Interrupted in the function's own code: it goes on to its next call, to be told there.
                    let asked = inbox::take_cancels(self.run.run_id).into_iter().next();
                    self.cancel = self.cancel.take().or(asked);
                    continue;
                }
                Err(error) if error.sqlstate == QUERY_CANCELED && fired => {
                    if let Some(reason) = self.cancel.take() {
                        // It does not get to a call: no more waiting for it.
                        history.flush(now);
                        return self.close(Status::Cancelled, None, Some(&Error::Cancelled { reason }.into()));
                    }
                    // A timer's milliseconds may end a little before the deadline does.
                    if patience.is_none() || self.expired(now) {
                        return self.expire(code);
                    }
                    self.around.pace.observe_step(self.run.def_id, "", PATIENCE);
                    self.want_alone()
                }
                Err(error) if error.sqlstate == QUERY_CANCELED && slots::stops_here() => guard::throw(error),
                Err(error) => {
                    history.flush(now);
                    let status = if error.sqlstate == CANCELLED {
                        Status::Cancelled
                    } else {
                        Status::Failed
                    };
                    self.close(status, None, Some(&error))
                }
            };
        }
    }

    /// Calls the function once, to its end or to the first call that has no answer.
    fn replay(&mut self, code: &Code, mut history: History, patience: Option<i64>) -> (Outcome, bool, History) {
        slots::set_busy(self.run.run_id, "");
        process::report_running(&format!("workflow {} instance {}", code.workflow, self.run.id));
        history.begin_replay();
        let deadline = self.run.deadline.map(|deadline| (deadline - clock()).max(1));
        let cancel = self.cancel.as_ref().map(|_| CANCEL_PATIENCE);
        let limit = if cancel.is_some() { cancel } else { patience }
            .into_iter()
            .chain(deadline)
            .min();
        let ((outcome, fired), history) = calls::deciding(history, || {
            scope::as_owner(self.run.owner, &code.search_path, || {
                if let Some(limit) = limit {
                    interrupt::arm(limit);
                }
                let outcome = txn::trial(|| {
                    txn::set_read_only();
                    interrupt::with_read_only_hint(|| target::call(&code.function, &self.run.input))
                });
                (outcome, interrupt::disarm())
            })
        });
        (outcome, fired, history)
    }

    /// False if the function was replaced or dropped so lately that the call may have met its new version. A change that
    /// the call saw has also reached this process' caches by now.
    fn is_still_right(&mut self, code: &Code) -> Result<bool, PgError> {
        let generation = catalog::functions_generation();
        if generation == self.generation {
            return Ok(true);
        }
        let now = code::load(self.run.def_id, self.run.owner)?;
        self.generation = generation;
        Ok(now.function.signature == code.function.signature)
    }

    /// Nothing but this run's next step is in the transaction.
    fn fresh(&self) -> bool {
        // Where there is no other transaction to be had, this one has to do.
        self.around.until.is_none() || (self.around.alone && !self.wrote)
    }

    /// How long `what` (a step, or the function itself: empty) may take in this transaction; `None`: it wants one of its
    /// own. What is not known to be slow is interrupted when it turns out to be: then what came before it is committed,
    /// and it runs again alone. So nobody waits for it, neither neighbours nor those who want to see what came before.
    fn patience(&self, what: &str) -> Option<Option<i64>> {
        if self.around.until.is_none() {
            return Some(None);
        }
        if !self.around.pace.is_slow(self.run.def_id, what) {
            return Some(Some(PATIENCE));
        }
        if !self.fresh() {
            return None;
        }
        // This process will be occupied: another is to see to the rest, if there is any.
        if ready::has_others(self.run.owner, self.run.run_id) {
            slots::wake_executor(process::my_database(), self.run.owner);
        }
        Some(None)
    }

    fn returned(&mut self, history: &mut History, result: Option<Json>, now: Timestamp) -> End {
        history.flush(now);
        let refused = match history.unasked() {
            Some(expected) => Some(Error::Diverged {
                expected,
                found: "the end of the workflow".to_owned(),
            }),
            None => step::check_size(result.as_ref(), || "result of the workflow".to_owned()).err(),
        };
        match refused {
            Some(error) => self.close(Status::Failed, None, Some(&error.into())),
            None => self.close(Status::Completed, result.as_ref(), None),
        }
    }

    /// Does what the function wants. `None`: there is a new answer, replay again.
    fn fulfil(&mut self, code: &Code, history: &mut History, want: Want, now: Timestamp) -> Option<End> {
        self.wrote |= history.flush(now);
        if self.expired(now) {
            return Some(self.expire(code));
        }
        self.notice_cancel();
        if self.cancel.is_some() && !history.open().is_empty() {
            // Delivered at what the run waits for (or was about to try again), not at a later call.
            self.settle_open(history, now);
            return None;
        }
        let (kind, name) = match want {
            Want::Diverged { expected, found } => {
                let error = Error::Diverged { expected, found }.into();
                return Some(self.close(Status::Failed, None, Some(&error)));
            }
            Want::Blocked => return Some(self.wait(history)),
            Want::Step { name, index, spec } => {
                if self.cancel.is_none() {
                    return self.run_step(code, history, &name, index, &spec);
                }
                (Kind::Step, name)
            }
            Want::Sleep { name, until } => {
                if self.cancel.is_none() {
                    let due = match until {
                        Wake::After(interval) => interval.after(now),
                        Wake::At(at) => at,
                    };
                    return self.begin_wait(history, Kind::Sleep, &name, Some(due), now);
                }
                (Kind::Sleep, name)
            }
            Want::Signal { name, timeout } => {
                if self.cancel.is_none() {
                    return self.begin_signal(history, &name, timeout, now);
                }
                (Kind::Signal, name)
            }
        };
        let reason = self.cancel.take().flatten();
        self.record_cancelled(history, kind, &name, reason, now);
        None
    }

    /// Looks for a cancel that was committed since the turn began; true if there is one to deliver.
    fn notice_cancel(&mut self) -> bool {
        if self.cancel.is_none() && slots::take_cancel() {
            self.cancel = inbox::take_cancels(self.run.run_id).into_iter().next();
        }
        self.cancel.is_some()
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

    fn run_step(
        &mut self,
        code: &Code,
        history: &mut History,
        name: &str,
        index: Option<usize>,
        spec: &StepSpec,
    ) -> Option<End> {
        let Some(patience) = self.patience(name) else {
            return Some(self.want_alone());
        };
        let company = Company {
            patience,
            fresh: self.fresh(),
        };
        *self.around.steps += 1;
        let started = clock();
        let attempt = match self.around.forced.take() {
            Some(error) => Attempt::Failed(error),
            None => step::attempt(&self.run, code, name, spec, company),
        };
        let now = clock();
        let number = index.map_or(0, |i| history.row(i).attempt) + 1;
        let (status, result, error, due) = match attempt {
            Attempt::TakesLong => {
                self.around.pace.observe_step(self.run.def_id, name, PATIENCE);
                return Some(self.want_alone());
            }
            Attempt::Conflict => return Some(self.want_alone()),
            Attempt::Done(result) => {
                self.around.pace.observe_step(self.run.def_id, name, now - started);
                (StepStatus::Completed, result, None, None)
            }
            Attempt::Cancelled => {
                let reason = inbox::take_cancels(self.run.run_id).into_iter().next().flatten();
                (StepStatus::Cancelled, None, Some(cancellation(reason)), None)
            }
            Attempt::Expired => return Some(self.expire(code)),
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
                (status, None, Some(Json::from_value(&error.to_json())), due)
            }
        };
        self.wrote = true;
        let change = |row: &mut crate::store::steps::StepRow| {
            row.status = status;
            row.attempt = number;
            row.result = result;
            row.error = error;
            row.due_at = due;
        };
        let n = match index {
            Some(position) => {
                history.settle(position, now, change);
                history.row(position).n
            }
            None => {
                let mut row = history.new_row(Kind::Step, name);
                change(&mut row);
                let n = row.n;
                history.append(row, started, now);
                n
            }
        };
        self.set_timer(due, n);
        (status == StepStatus::Retrying).then(|| self.wait(history))
    }

    /// Commit now, go on in the next transaction.
    fn yield_turn(&mut self) -> End {
        self.put_cancel_back();
        if self.run.status != Status::Running {
            runs::set_open(self.run.run_id, Status::Running, None, self.started);
        }
        End::Yield
    }

    /// The next thing wants a transaction of its own. What this turn has written is committed first.
    fn want_alone(&mut self) -> End {
        self.put_cancel_back();
        if self.wrote && self.run.status != Status::Running {
            runs::set_open(self.run.run_id, Status::Running, None, self.started);
        }
        End::Alone
    }

    /// A cancel that was taken out of its table and not delivered would be lost with this turn.
    fn put_cancel_back(&mut self) {
        if let Some(reason) = self.cancel.take() {
            inbox::ask(
                self.run.run_id,
                inbox::Action::Cancel,
                reason.as_deref(),
                clock(),
                self.run.owner,
            );
        }
    }

    fn expired(&self, now: Timestamp) -> bool {
        self.run.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The run's deadline has passed: it fails, whatever it stands at.
    fn expire(&mut self, code: &Code) -> End {
        steps::abandon(self.run.run_id, clock());
        let error = step::run_timeout(&self.run, code);
        self.close(Status::Failed, None, Some(&error))
    }

    fn close(&mut self, status: Status, result: Option<&Json>, error: Option<&PgError>) -> End {
        end(&self.run, self.started, status, result, error);
        End::Settled
    }
}

pub(super) fn cancellation(reason: Option<String>) -> Json {
    Json::from_value(&PgError::from(Error::Cancelled { reason }).to_json())
}
