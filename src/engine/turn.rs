//! A turn: everything that can be done for one run now. Replay the function, do what it wants, replay, until it ends or
//! has to wait.
//!
//! The caller owns the transaction, has locked the run's row and runs as the engine. The function runs in a
//! subtransaction that is always rolled back, read-only: it decides and never acts. Each step runs in a subtransaction
//! of its own that is kept; its record is written beside it. So whenever the caller commits, effects and history agree.
//! A procedure may run its steps where they are called, without a replay: see [`super::in_place`].
//!
//! Invariant: a transaction that changes a run's history also writes its row. So an unchanged row means an unchanged
//! history, and what a process remembers of it is still true.

use std::ops::ControlFlow::{self, Break, Continue};
use std::rc::Rc;

use pg_workflow_core::batch::{MAX_STEPS, PATIENCE};

use crate::engine::code::{self, Code};
use crate::engine::history::History;
use crate::engine::passage::Passage;
use crate::engine::recall::Recall;
use crate::engine::replay::{self, Call};
use crate::engine::schedule::fire;
use crate::engine::step::Attempt;
use crate::engine::{child, limits, metrics, seats, send, task};
use crate::error::Error;
use crate::hub::{hands, hints, slots};
use crate::pg::messages::Captured;
use crate::pg::{Json, PgError, Timestamp, catalog, clock, fault, interrupt, process, scope, txn};
use crate::store::ready::{self, Position, Ticket};
use crate::store::runs::{self, Locked, Status};
use crate::store::{answers, inbox, steps, timers};

/// What the transaction around a turn is like.
pub(crate) struct Terms {
    /// No other run is in this transaction.
    pub(crate) alone: bool,
    /// When to commit what there is; `None` where the caller cannot commit.
    pub(crate) until: Option<Timestamp>,
    /// Steps may commit where they are called: the process is an executor.
    pub(crate) in_place: bool,
    /// Commit behind each step, to find out which one makes the commit fail.
    pub(crate) careful: bool,
    /// The transaction of the last attempt failed at its commit: the next step of this run failed with this.
    pub(crate) forced: Option<PgError>,
    /// Steps run in this transaction so far.
    pub(crate) steps: u32,
    /// The claimed hint that has led here.
    pub(crate) ticket: Option<Ticket>,
    /// Yield behind the first new answer.
    pub(crate) single: bool,
}

/// Time that the function of a run that was cancelled, or whose time is over, has for its way to its next call, in
/// microseconds.
const CANCEL_PATIENCE: i64 = 1_000_000;

/// Recorded calls from which on replaying a procedure costs more than a transaction of its own.
pub(super) const LONG: usize = 16;

/// How a turn ended. All but `Alone` and `Elsewhere` have written whatever there was to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The run has ended, or waits for something that will make it ready.
    Settled,
    /// There is more to do at once, in the next transaction.
    Yield,
    /// The next thing to do wants a transaction of its own.
    Alone,
    /// Only another process can do it: an executor.
    Elsewhere,
}

/// What the caller learns of a turn.
pub(crate) struct Ended {
    pub(crate) end: End,
    pub(crate) steps: u32,
    /// The hint behind it: the claimed one, or the one that has taken its place.
    pub(crate) ticket: Option<Ticket>,
    /// It has committed on its way: locks that the caller took before are gone.
    pub(crate) committed: bool,
}

/// Takes a turn for `run`, which is open.
pub(crate) fn take(run: Locked, terms: Terms, recall: &Rc<Recall>) -> Ended {
    let now = clock();
    let mut turn = Turn::new(run, terms, Rc::clone(recall), now);
    hands::hold(turn.run.run_id, "");
    fault("turn");
    turn.read_controls();
    turn.begin(now)
}

/// Ends a run that cannot be worked on at all.
pub(crate) fn give_up(run: &Locked, error: &PgError) {
    let now = clock();
    steps::abandon(run.run_id, now);
    task::withdraw(run.run_id, None, now);
    seats::withdraw_all(run.run_id);
    child::release(run);
    let error = Json::from_value(&error.to_json());
    let began = run.status != Status::Pending;
    end(
        run,
        run.started_at.unwrap_or(now),
        began,
        Status::Failed,
        None,
        Some(&error),
    );
}

/// Writes the end of a run, takes its timers away and tells who waits for it: clients, and the run that it is a
/// child of. `began`: it has had a turn.
fn end(run: &Locked, started: Timestamp, began: bool, status: Status, result: Option<&Json>, error: Option<&Json>) {
    let now = clock();
    metrics::ended(run, status, began.then(|| now - started), || {
        error.map_or(0, |error| PgError::from_json(&error.to_value()).sqlstate)
    });
    runs::close(run.run_id, status, result, error, started, now);
    if let Some(deadline) = run.deadline.filter(|deadline| *deadline > now) {
        timers::delete(deadline, run.run_id, timers::DEADLINE);
    }
    if let Some(start) = run.start_at.filter(|start| *start > now) {
        timers::delete(start, run.run_id, timers::START);
    }
    if run.status == Status::Pending
        && let Some(start_by) = run.start_by.filter(|start_by| *start_by > now)
    {
        timers::delete(start_by, run.run_id, timers::START_BY);
    }
    fault("closed");
    hints::ended(run.run_id);
    if status != Status::Continued {
        seats::end_run(run);
    }
    if let Some(parent) = run.parent.filter(|_| status != Status::Continued) {
        if parent.n == timers::SCHEDULE {
            return fire::run_ended(parent.run_id, run.owner);
        }
        // Where in the child it was stands with the child; through many parents it would grow beyond reading.
        let error = error.map(|error| {
            let context = Some(format!("child \"{}\"", run.id));
            let error = PgError::from_json(&error.to_value());
            Json::from_value(&PgError { context, ..error }.to_json())
        });
        answers::give(
            parent.run_id,
            parent.n,
            parent.item,
            status.name(),
            result,
            error.as_ref(),
        );
        send::tell(parent.run_id, run.owner, run.priority);
        fault("child-ended");
    }
}

pub(crate) struct Turn {
    pub(super) run: Locked,
    pub(super) terms: Terms,
    pub(super) recall: Rc<Recall>,
    pub(super) started: Timestamp,
    /// A cancel that has not been delivered, with its reason.
    pub(super) cancel: Option<Option<String>>,
    /// State of the function catalogue for which the code was last found to be the right version.
    pub(super) generation: u64,
    /// The call that runs may have met another version than the pinned one: to be looked at before anything is done.
    pub(super) unchecked: bool,
    /// Others have been shown that this process works on the run.
    shown: bool,
    /// This transaction has written something for this run.
    pub(super) wrote: bool,
    /// Commits in place so far.
    pub(super) commits: u32,
    /// How long the last replay took, or a call in place to its first call without an answer, in microseconds.
    pub(super) replay_took: i64,
    /// When the call in place began, and what its own code is allowed, in microseconds.
    pub(super) began: Timestamp,
    pub(super) own_patience: Option<i64>,
    /// The call in place is to make room for others.
    pub(super) yields: bool,
    /// The call in place was left between two calls of the procedure, which wants nothing.
    pub(super) between: bool,
    /// The call in place has gone on for long: other executors do not wait for it.
    pub(super) long: bool,
    /// The procedure's own code was interrupted and has gone on regardless.
    pub(super) swallowed: bool,
    /// The function's own code was interrupted once for no reason that is known.
    pub(super) stray: bool,
    /// The run has failed and undoes what it has done.
    pub(super) compensating: bool,
    /// Its function had come to its end when the turn began, and the run waited for what it has begun.
    pub(super) lingers: bool,
    /// It may have started children.
    pub(super) has_children: bool,
    /// The last call in place came to no step that it could run.
    pub(super) in_vain: bool,
    /// The last step that was run in place, if the procedure has not gone on to another since.
    pub(super) last_in_place: Option<String>,
    /// An attempt of the wanted step that was made in place and did not succeed, with the time at which it began.
    pub(super) tried: Option<(Attempt, Timestamp)>,
    /// What the last attempt has raised and is not written yet.
    pub(super) raised: Captured,
}

impl Turn {
    pub(super) fn new(run: Locked, terms: Terms, recall: Rc<Recall>, now: Timestamp) -> Self {
        Self {
            started: run.started_at.unwrap_or(now),
            run,
            terms,
            recall,
            cancel: None,
            generation: 0,
            unchecked: false,
            shown: false,
            wrote: false,
            commits: 0,
            began: now,
            replay_took: 0,
            own_patience: None,
            yields: false,
            between: false,
            long: false,
            swallowed: false,
            stray: false,
            compensating: false,
            lingers: false,
            has_children: false,
            in_vain: false,
            last_in_place: None,
            tried: None,
            raised: Captured::default(),
        }
    }

    pub(super) fn read_controls(&mut self) {
        if self.run.controlled {
            let asked = inbox::take_cancels(self.run.run_id).into_iter().next();
            self.cancel = self.cancel.take().or(asked);
        }
    }

    pub(super) fn ended(&self, end: End) -> Ended {
        Ended {
            end,
            steps: self.terms.steps,
            ticket: self.terms.ticket,
            committed: self.commits > 0,
        }
    }

    /// Goes from what is in the tables to as far as the run gets.
    pub(super) fn begin(mut self, now: Timestamp) -> Ended {
        let mut history = History::empty(self.run.run_id);
        match self.prepare(&mut history, now) {
            Ok(Continue(code)) if self.compensating => {
                let end = self.compensate(&code, history);
                self.ended(end)
            }
            Ok(Continue(_)) if self.terms.single && self.wrote => {
                // A wait has ended.
                let end = self.yield_turn(history);
                self.ended(end)
            }
            Ok(Continue(code)) => self.play(code, history),
            Ok(Break(end)) => self.ended(end),
            Err(error) => {
                self.has_children = true;
                let end = self.close(Status::Failed, None, Some(&error));
                self.ended(end)
            }
        }
    }

    /// What comes before the first replay, which may be the end of the turn.
    fn prepare(&mut self, history: &mut History, now: Timestamp) -> Result<ControlFlow<End, Rc<Code>>, PgError> {
        let pending = self.run.status == Status::Pending;
        if pending && self.cancel.is_some() {
            let reason = self.cancel.take().flatten();
            let error = Error::Cancelled { reason }.into();
            return Ok(Break(self.close(Status::Cancelled, None, Some(&error))));
        }
        if pending && self.run.start_at.is_some_and(|start| start > now) {
            return Ok(Break(End::Settled));
        }
        if !self.is_admitted(now) {
            return Ok(Break(End::Settled));
        }
        if pending && !self.begins_in_time(now) {
            return Ok(Break(End::Settled));
        }
        let code = self.load_code()?;
        if !pending {
            let kept = self.recall.history(self.run.run_id, self.run.version);
            *history = kept.unwrap_or_else(|| History::load(self.run.run_id));
            self.has_children = history.has_children();
        }
        self.compensating = self.run.status == Status::Compensating;
        if self.compensating {
            return Ok(Continue(code));
        }
        // One that is in the middle of its way first comes to its next call: see `limit`.
        if self.expired(now) && self.run.status != Status::Running {
            return Ok(Break(self.expire(&code, history, None)));
        }
        if pending {
            return Ok(Continue(code));
        }
        let news = self.settle_open(&code, history, now);
        if self.run.status == Status::Waiting && !news {
            // A hint for nothing, or for something that the function does not stand at: back to waiting, without a replay.
            if self.wrote {
                self.wait(history);
                let history = std::mem::replace(history, History::empty(self.run.run_id));
                self.recall.keep(self.run.run_id, txn::current_id(), history);
            }
            return Ok(Break(End::Settled));
        }
        Ok(Continue(code))
    }

    /// False if the run waits for its turn in a queue. What ends it, or has it undo, does not, nor does an operator's single step.
    fn is_admitted(&self, now: Timestamp) -> bool {
        let too_late = |start_by| start_by <= now && self.run.status == Status::Pending;
        let late = self.expired(now) || self.run.start_by.is_some_and(too_late);
        let goes = late || self.cancel.is_some() || self.terms.single || self.run.status == Status::Compensating;
        goes || seats::admits_run(&self.run, now)
    }

    pub(super) fn load_code(&mut self) -> Result<Rc<Code>, PgError> {
        self.generation = catalog::functions_generation();
        let code = code::load(self.run.def_id, self.run.owner)?;
        // An old version was restored, under a lock that others wait for.
        self.wrote |= self.generation != catalog::functions_generation();
        Ok(code)
    }

    /// Replays until the run ends, waits or has to yield.
    pub(super) fn play(mut self, mut code: Rc<Code>, mut history: History) -> Ended {
        loop {
            txn::check_for_interrupts();
            let in_place = self.acts_in_place(&code);
            if !in_place
                && !self.in_vain
                && self.terms.forced.is_none()
                && self.terms.in_place
                && code.function.is_procedure
                && history.len() >= LONG
            {
                let end = self.want_alone(history);
                return self.ended(end);
            }
            let Some(patience) = self.patience("") else {
                let end = self.want_alone(history);
                return self.ended(end);
            };
            self.unchecked = true;
            let passage;
            (self, passage) = if in_place {
                self.pass_in_place(code, history, patience)
            } else {
                let passage = self.replay(code, history, patience);
                (self, passage)
            };
            code = Rc::clone(&passage.code);
            match self.follow(passage) {
                Break(end) => return self.ended(end),
                Continue(after) => history = after,
            }
        }
    }

    /// Calls the function once, to its end or to the first call that has no answer.
    fn replay(&mut self, code: Rc<Code>, history: History, patience: Option<i64>) -> Passage {
        self.occupy(&code, "", patience);
        let limit = self.limit(patience);
        let begun = clock();
        let call = Call {
            owner: self.run.owner,
            search_path: &code.search_path,
            function: &code.function,
            input: &self.run.input,
        };
        let (outcome, fired, history) = replay::replay(&call, history, limit);
        self.replay_took = clock() - begun;
        if patience.is_none() && !fired {
            // It may have been the machine: quick again, it shares a transaction again.
            let took = self.replay_took;
            self.recall.pace(|pace| pace.observe_step(self.run.def_id, "", took));
        }
        Passage {
            code,
            history,
            outcome,
            fired,
            patience,
        }
    }

    /// Time after which the function's own code is interrupted.
    pub(super) fn limit(&self, patience: Option<i64>) -> Option<i64> {
        // One that is over is told of it at its next call: what it registers on the way there is to be undone.
        let rest = |deadline| {
            Some(deadline - clock())
                .filter(|rest| *rest > 0)
                .unwrap_or(CANCEL_PATIENCE)
        };
        let deadline = self.run.deadline.map(rest);
        let cancel = self.cancel.as_ref().map(|_| CANCEL_PATIENCE);
        cancel.or(patience).into_iter().chain(deadline).min()
    }

    /// False if the function was replaced or dropped so lately that the call may have met its new version. A change that
    /// the call saw has also reached this process' caches by now.
    pub(super) fn is_still_right(&mut self, code: &Code) -> Result<bool, PgError> {
        let generation = catalog::functions_generation();
        if !std::mem::take(&mut self.unchecked) || generation == self.generation {
            return Ok(true);
        }
        let now = code::load(self.run.def_id, self.run.owner)?;
        self.generation = generation;
        Ok(now.function.signature == code.function.signature)
    }

    /// Time to commit what there is.
    pub(super) fn is_over(&self) -> bool {
        let over = |until| self.terms.careful || self.terms.steps >= MAX_STEPS || clock() >= until;
        self.terms.single || self.terms.until.is_some_and(over)
    }

    /// Nothing but this run's next step is in the transaction.
    pub(super) fn fresh(&self) -> bool {
        // Where there is no other transaction to be had, this one has to do.
        self.terms.until.is_none() || (self.terms.alone && !self.wrote)
    }

    /// How long `what` (a step, or the function itself: empty) may take in this transaction; `None`: it wants one of its
    /// own. What is not known to be slow is interrupted when it turns out to be: then what came before it is committed,
    /// and it runs again alone. So nobody waits for it, neither neighbours nor those who want to see what came before.
    pub(super) fn patience(&self, what: &str) -> Option<Option<i64>> {
        if self.terms.until.is_none() {
            return Some(None);
        }
        if !self.recall.pace(|pace| pace.is_slow(self.run.def_id, what)) {
            return Some(Some(PATIENCE));
        }
        self.fresh().then_some(None)
    }

    /// Shows others what runs now, and for how long it may. If it will occupy this process, another is to see to the rest.
    pub(super) fn occupy(&mut self, code: &Code, step: &str, patience: Option<i64>) {
        let slow = patience.is_none() && self.terms.until.is_some();
        // A call of the function is over in no time, mostly: shown once a turn.
        let first = !std::mem::replace(&mut self.shown, true);
        if !step.is_empty() || slow || first {
            slots::set_busy(self.run.run_id, step, slow || self.long);
            if first && !slots::stops_here() {
                // A cancel that was sent to this process before was meant for the run before.
                interrupt::withdraw();
                if slots::is_cancelled() {
                    interrupt::cancel_soon();
                }
            }
            let word = if step.is_empty() { "" } else { " step " };
            process::report_running(&format!(
                "workflow {} instance {}{word}{step}",
                code.workflow, self.run.id
            ));
        } else {
            hands::hold(self.run.run_id, step);
        }
        if slow && scope::as_engine(|| self.others_may_wait()) {
            slots::wake_executor(process::my_database(), self.run.owner);
        }
    }

    /// Runs of the role are ready that this process does not get to.
    pub(super) fn others_wait(&self) -> bool {
        let after = self.recall.queue(|queue| queue.after);
        ready::has_others(self.run.owner, self.run.run_id, after)
    }

    /// As [`Self::others_wait`], or some may be where this process has not looked lately.
    fn others_may_wait(&self) -> bool {
        self.recall.queue(|queue| queue.after != Position::START) || self.others_wait()
    }

    /// Commit now, go on in the next transaction.
    pub(super) fn yield_turn(&mut self, history: History) -> End {
        self.put_cancel_back();
        self.set_running();
        self.recall.keep(self.run.run_id, txn::current_id(), history);
        End::Yield
    }

    /// The next thing wants a transaction of its own. What this turn has written is committed first.
    pub(super) fn want_alone(&mut self, history: History) -> End {
        self.put_cancel_back();
        let version = if self.wrote {
            self.set_running();
            txn::current_id()
        } else {
            self.run.version
        };
        self.recall.keep(self.run.run_id, version, history);
        End::Alone
    }

    /// The run's row says that it is on its way, and changes with its history.
    pub(super) fn set_running(&self) {
        let status = if self.compensating {
            Status::Compensating
        } else {
            Status::Running
        };
        metrics::begun(&self.run, self.started);
        runs::set_open(self.run.run_id, status, None, self.started);
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

    pub(super) fn expired(&self, now: Timestamp) -> bool {
        self.run.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The run's deadline has passed: it fails, whatever it stands at. `at`: that, if no open entry says it.
    pub(super) fn expire(&mut self, code: &Code, history: &mut History, at: Option<String>) -> End {
        let error = limits::run_timeout(&self.run, code, history, at);
        let history = std::mem::replace(history, History::empty(self.run.run_id));
        self.fail(code, history, Status::Failed, &error)
    }

    pub(super) fn close(&mut self, status: Status, result: Option<&Json>, error: Option<&PgError>) -> End {
        let error = error.map(|error| Json::from_value(&error.to_json()));
        self.close_with(status, result, error.as_ref())
    }

    pub(super) fn close_with(&mut self, status: Status, result: Option<&Json>, error: Option<&Json>) -> End {
        if self.has_children {
            child::release(&self.run);
        }
        let began = self.shown || self.run.status != Status::Pending;
        if began {
            metrics::begun(&self.run, self.started);
        }
        end(&self.run, self.started, began, status, result, error);
        End::Settled
    }
}

pub(super) fn cancellation(reason: Option<String>) -> Json {
    Json::from_value(&PgError::from(Error::Cancelled { reason }).to_json())
}
