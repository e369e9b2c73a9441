//! A branch's turn: one attempt of a step that was begun beside its run, or of one item of a map. No function is replayed for it.
//!
//! The branch's row is locked, the run's is not, so the run's own turns go on meanwhile. How it ends is written to the
//! branch and told to the run ([`crate::store::answers`]).

use std::ops::RangeInclusive;
use std::rc::Rc;

use pg_workflow_core::batch::PATIENCE;
use pg_workflow_core::policy::Verdict;

use crate::engine::code::Code;
use crate::engine::command::Begin;
use crate::engine::history::History;
use crate::engine::recall::Recall;
use crate::engine::step::{self, Attempt, StepSpec};
use crate::engine::turn::{End, Ended, Terms, Turn, cancellation};
use crate::engine::{cache, limits, metrics, rehearsal, seats, send};
use crate::error::Error;
use crate::hub::metrics::Event;
use crate::hub::{hands, hints};
use crate::pg::{Json, PgError, Timestamp, clock, fault};
use crate::store::branches::{self, LockedBranch, Outcome};
use crate::store::logs::Place;
use crate::store::places::Units;
use crate::store::runs::Locked;
use crate::store::steps::{Kind, StepStatus};
use crate::store::{answers, ready, timers};

/// Makes an attempt of a branch, if one is due.
pub(crate) fn take(locked: &LockedBranch, run: Locked, terms: Terms, recall: &Rc<Recall>) -> Ended {
    let now = clock();
    let mut turn = Turn::new(run, terms, Rc::clone(recall), now);
    hands::hold(turn.run.run_id, &locked.name);
    let end = if locked.running {
        turn.found_running(locked)
    } else if !locked.open || locked.due_at.is_some_and(|due| due > now) {
        // Its call has ended without it, or the hint is an old one.
        if !locked.open {
            seats::end_attempt(locked, &turn.run);
        }
        End::Settled
    } else if !seats::admits_step(locked, &turn.run, now) {
        End::Settled
    } else {
        match turn.load_code() {
            Ok(code) => turn.attempt_branch(&code, locked),
            Err(error) => turn.end_branch(locked, StepStatus::Failed, None, Some(&error), now),
        }
    };
    turn.ended(end)
}

impl Turn {
    /// A step that does not run within its run's turn: a branch, which the function waits for where it makes the call.
    pub(super) fn begin_apart(
        &mut self,
        history: &mut History,
        name: &str,
        spec: &StepSpec,
        now: Timestamp,
    ) -> Option<End> {
        let cached = spec
            .caching
            .as_ref()
            .and_then(|caching| cache::find(self.run.owner, caching));
        if let Some(done) = cached {
            self.record_done(history, name, None, done, now);
            return None;
        }
        let mut row = history.new_row(Kind::Step, name);
        row.status = StepStatus::Waiting;
        row.request = spec.apart.clone();
        let n = row.n;
        history.append(row, now, now);
        self.wrote = true;
        let launched = self.launch_branch(spec.apart.as_ref(), n, now);
        let position = history.len() - 1;
        (!self.refused(history, position, launched, now)).then(|| self.wait(history))
    }

    /// Has an executor make the one branch of call `n`.
    ///
    /// # Errors
    /// WF009 if it is to go into a queue whose backlog is full.
    pub(super) fn launch_branch(&self, request: Option<&Json>, n: i32, now: Timestamp) -> Result<(), Error> {
        branches::insert(self.run.run_id, n);
        self.launch_branches(request, n, 1..=1, true, now)
    }

    /// Has executors make branches of a call, when its queue lets them if its request names one. `anew`: they are the first of it.
    pub(super) fn launch_branches(
        &self,
        request: Option<&Json>,
        n: i32,
        items: RangeInclusive<i32>,
        anew: bool,
        now: Timestamp,
    ) -> Result<(), Error> {
        let run = &self.run;
        let (first, last) = (*items.start(), *items.end());
        let units = Units {
            run_id: run.run_id,
            n,
            first,
            last,
        };
        if !seats::queue_steps(request, units, run.owner, run.priority, anew, now)? {
            ready::insert_branches(run.owner, i32::from(run.priority), run.run_id, n, first, last);
            hints::ready(run.owner);
        }
        Ok(())
    }

    fn attempt_branch(&mut self, code: &Rc<Code>, locked: &LockedBranch) -> End {
        let name = &locked.name;
        let request = locked.request.clone().unwrap_or_else(Json::null);
        let spec = StepSpec::from_request(&request, Some(locked.input.clone().unwrap_or_else(Json::null)));
        let (attempt, started) = match self.terms.forced.take() {
            Some(error) => (Attempt::Failed(error), clock()),
            None => match rehearsal::answer_branch(locked) {
                Some(attempt) => (attempt, clock()),
                None if !spec.transactional => match self.begin_command(code, locked, &spec) {
                    Begin::Ended(attempt) => (attempt, clock()),
                    Begin::Left(end) => return end,
                },
                None => {
                    let Some(patience) = self.patience(name) else {
                        return End::Alone;
                    };
                    let at = (locked.branch.n, locked.branch.item);
                    self.look_again(name, Some(at.0), patience);
                    let (attempt, started) = self.attempt(code, at, name, &spec, patience, locked.started_at);
                    if matches!(attempt, Attempt::Done(_)) {
                        let took = clock() - started;
                        self.recall.pace(|pace| pace.observe_step(self.run.def_id, name, took));
                    }
                    (attempt, started)
                }
            },
        };
        self.conclude(code, locked, &spec, attempt, started)
    }

    /// Writes what has become of an attempt.
    pub(super) fn conclude(
        &mut self,
        code: &Code,
        locked: &LockedBranch,
        spec: &StepSpec,
        attempt: Attempt,
        started: Timestamp,
    ) -> End {
        self.wrote = true;
        let name = &locked.name;
        if !matches!(attempt, Attempt::TakesLong | Attempt::Conflict) {
            let place = Place {
                n: locked.branch.n,
                item: locked.branch.item,
                attempt: locked.attempt + 1,
            };
            self.keep_messages(place, name);
        }
        let first = locked.started_at.unwrap_or(started);
        let until = limits::step_until(code, spec, first);
        self.count_failure(attempt.failure(), false);
        match attempt {
            Attempt::Done(done) => {
                if done.origin.is_none() {
                    metrics::note(&self.run, Event::Step(clock() - started));
                }
                self.end_branch(locked, StepStatus::Completed, done.result.as_ref(), None, started)
            }
            Attempt::TakesLong => {
                self.recall
                    .pace(|pace| pace.observe_step(self.run.def_id, name, PATIENCE));
                End::Alone
            }
            Attempt::Conflict => End::Alone,
            Attempt::Cancelled => {
                let error = PgError::from_json(&cancellation(None).to_value());
                self.end_branch(locked, StepStatus::Cancelled, None, Some(&error), started)
            }
            // The run's own timer ends the run.
            Attempt::Expired if !locked.running => {
                seats::end_attempt(locked, &self.run);
                End::Settled
            }
            Attempt::Expired => {
                let error = Error::StepCutOff(name.clone()).into();
                self.end_branch(locked, StepStatus::Cancelled, None, Some(&error), started)
            }
            Attempt::OutOfTime { made } => {
                let attempts = locked.attempt + i32::from(made);
                let error = limits::step_timeout(code, spec, name, attempts, first, None);
                self.end_branch(locked, StepStatus::Failed, None, Some(&error), started)
            }
            Attempt::Failed(error) => match step::verdict(code, spec, locked.attempt + 1, &error) {
                Verdict::Retry(delay) if until.is_some_and(|until| clock().saturating_add(delay) >= until) => {
                    let error = limits::step_timeout(code, spec, name, locked.attempt + 1, first, Some(&error));
                    self.end_branch(locked, StepStatus::Failed, None, Some(&error), started)
                }
                Verdict::Retry(delay) => {
                    metrics::note(&self.run, Event::StepRetried);
                    self.retry_branch(locked, &step::passing_error(code, spec, &error), started, delay)
                }
                Verdict::Fail => self.end_branch(locked, StepStatus::Failed, None, Some(&error), started),
            },
        }
    }

    fn retry_branch(&mut self, locked: &LockedBranch, error: &Json, started: Timestamp, delay: i64) -> End {
        let due = clock().saturating_add(delay);
        let outcome = Outcome {
            status: StepStatus::Retrying.name(),
            attempt: locked.attempt + 1,
            result: None,
            error: Some(error),
            started_at: locked.started_at.unwrap_or(started),
            finished_at: None,
            due_at: Some(due),
        };
        branches::update(locked.branch, &outcome);
        // Another may have its place meanwhile.
        seats::end_attempt(locked, &self.run);
        timers::insert_branch(due, locked.branch, self.run.owner, i32::from(self.run.priority));
        hints::timer(due);
        fault("branch-retried");
        End::Settled
    }

    pub(super) fn end_branch(
        &mut self,
        locked: &LockedBranch,
        status: StepStatus,
        result: Option<&Json>,
        error: Option<&PgError>,
        started: Timestamp,
    ) -> End {
        let error = error.map(|error| Json::from_value(&error.to_json()));
        let outcome = Outcome {
            status: status.name(),
            attempt: locked.attempt + 1,
            result,
            error: error.as_ref(),
            started_at: locked.started_at.unwrap_or(started),
            finished_at: Some(clock()),
            due_at: None,
        };
        branches::update(locked.branch, &outcome);
        seats::end_attempt(locked, &self.run);
        let branch = locked.branch;
        answers::give(branch.run_id, branch.n, branch.item, status.name(), None, None);
        send::tell(branch.run_id, self.run.owner, self.run.priority);
        fault("branch-ended");
        End::Settled
    }
}
