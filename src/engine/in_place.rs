//! Procedures whose steps run where they are called. A step that succeeds is recorded, its answer is given, and the
//! procedure goes on; when the time budget is used the call commits in the middle. So a step costs the same however long
//! the history is.
//!
//! The same goes for a wait for a signal that is there already.
//!
//! It works where Postgres allows a commit: in an executor's transaction that has nothing of another run in it, outside
//! of every subtransaction. Everything else is done as for functions: the procedure is unwound, the turn does what it
//! wanted and calls it again. That goes for waits, for steps that do not succeed at once, and for steps within a block
//! with an EXCEPTION clause, whose rollback would take the records of its steps along.
//!
//! Unwinding a procedure aborts the transaction, as there is no subtransaction around it. With nothing uncommitted that
//! loses nothing, and [`Batcher`](super::batch::Batcher) goes on in the next transaction by what was wanted
//! ([`Next::Follow`]). Otherwise the steps since the last commit are lost with all their effects, and are done again, this time
//! with a commit behind the last of them ([`Next::Anew`]). A process learns behind which steps that is to be expected.

use std::rc::Rc;

use pg_workflow_core::batch::PATIENCE;

use crate::engine::code::Code;
use crate::engine::history::{Answer, History, Want};
use crate::engine::passage::{Interrupted, Next, Passage};
use crate::engine::step::Attempt;
use crate::engine::turn::Turn;
use crate::engine::{calls, pause, send, target};
use crate::hub::{hints, slots};
use crate::pg::clock::steady;
use crate::pg::{PgError, clock, fault, guard, interrupt, process, scope, txn};
use crate::store::logs::Place;
use crate::store::{ready, runs};

/// Time for which a procedure counts as quick, in microseconds.
const BRIEF: i64 = 20_000;

/// Time that it may go on for while others wait and no other executor is free, in microseconds.
const SLICE: i64 = 100_000;

/// How a step that was called in place went.
enum Here {
    /// Recorded; the position of its entry if it had one before.
    Done(Option<usize>),
    /// The turn has to do it.
    Unwind,
}

impl Turn {
    /// True if the next call of the code may run its steps where they are called.
    pub(super) fn acts_in_place(&self, code: &Code) -> bool {
        code.function.is_procedure && self.terms.in_place && self.fresh() && self.terms.forced.is_none()
    }

    /// Calls the procedure. Returns if it has come to its end.
    ///
    /// # Errors
    /// Unwinds with whatever has left the procedure, for the transaction to be aborted; the turn lies in
    /// [`Recall`](super::recall::Recall) then.
    pub(super) fn pass_in_place(
        mut self,
        code: Rc<Code>,
        mut history: History,
        patience: Option<i64>,
    ) -> (Self, Passage) {
        self.occupy(&code, "", patience);
        history.begin_replay();
        self.own_patience = patience;
        self.began = steady();
        let (owner, limit, input) = (self.run.owner, self.limit(patience), self.run.input.clone());
        let stage = Stage {
            code: Rc::clone(&code),
            turn: self,
        };
        let ((outcome, fired), history, stage) = calls::deciding_in_place(history, stage, || {
            scope::as_owner(owner, &code.search_path, || {
                if let Some(limit) = limit {
                    interrupt::arm(limit);
                }
                let outcome = txn::deciding_at_top_level(|| {
                    interrupt::with_read_only_hint(|| target::call_in_place(&code.function, &input))
                });
                (outcome, interrupt::disarm())
            })
        });
        // What user code has SET may have been this.
        txn::set_writable();
        let Some(stage) = stage else {
            // The engine itself has failed in the middle of a step. Who found the run locked is told.
            hints::holding();
            guard::throw(outcome.err().unwrap_or_else(calls::lost));
        };
        self = stage.turn;
        let error = outcome.as_ref().err().cloned();
        let passage = Passage {
            code,
            history,
            outcome,
            fired: fired || self.swallowed,
            patience: if std::mem::take(&mut self.swallowed) {
                Some(PATIENCE)
            } else {
                patience
            },
        };
        match error {
            None => {
                self.leave_queue();
                (self, passage)
            }
            Some(error) => self.interrupted(passage, error),
        }
    }

    /// An error has left the procedure: the transaction is lost, the turn goes on in the next one.
    fn interrupted(mut self, passage: Passage, error: PgError) -> ! {
        let next = if self.wrote {
            self.recall.set_back(self.run.run_id, passage.history.len());
            Next::Anew
        } else if self.yields && self.between {
            Next::Later
        } else {
            Next::Follow
        };
        self.in_vain = self.last_in_place.is_none() && self.commits == 0;
        if let Some(step) = self.last_in_place.take() {
            self.recall
                .pace(|pace| pace.observe_leaving(self.run.def_id, &step, true));
        }
        self.wrote = false;
        // Who found the run locked behind the last commit is told by the abort.
        hints::holding();
        let recall = Rc::clone(&self.recall);
        recall.interrupt(Interrupted {
            turn: self,
            passage,
            next,
        });
        guard::throw(error)
    }

    /// The hint that stands for this turn is to be deleted with its end; behind a commit it has to be claimed again.
    fn leave_queue(&mut self) {
        if self.commits > 0 {
            self.terms.ticket = self.terms.ticket.take().and_then(ready::retake);
            // Who found the run locked meanwhile is told at the end of this transaction.
            hints::holding();
        }
    }

    /// The answer to a call that has none yet, made from inside the procedure. The want is noted in the history.
    fn act_here(&mut self, code: &Code, history: &mut History) -> Answer {
        if interrupt::disarm() {
            // What it wants now comes of an interruption that it has swallowed.
            self.swallowed = true;
            history.take_want();
            if self.wrote {
                self.commit_here(code, history);
            }
            return Answer::Unwind;
        }
        // A step is not to see what the procedure has SET.
        scope::reset();
        if self.unchecked {
            self.replay_took = steady() - self.began;
        }
        if let Some(step) = self.last_in_place.take() {
            // It went on to the next call.
            self.recall
                .pace(|pace| pace.observe_leaving(self.run.def_id, &step, false));
        }
        let answer = match self.try_here(code, history) {
            // What comes before the unwinding is not to be lost.
            Here::Unwind => {
                if self.wrote {
                    self.commit_here(code, history);
                }
                Answer::Unwind
            }
            Here::Done(position) => {
                let answer = match position {
                    Some(position) => Answer::Value(history.row(position).result.clone()),
                    None => history.answer_last(),
                };
                let last = self.last_in_place.as_deref().unwrap_or_default();
                // Where its own code is known to be slow, any step may be the last before it.
                let over = self.is_over()
                    || self.own_patience.is_none()
                    || self.recall.commits_at(self.run.run_id, history.len())
                    || self.recall.pace(|pace| pace.is_left_after(self.run.def_id, last));
                if over && !self.commit_here(code, history) {
                    self.between = true;
                    Answer::Unwind
                } else {
                    answer
                }
            }
        };
        if self.own_patience.is_none() {
            slots::set_busy(self.run.run_id, "", true);
        }
        if let Some(limit) = self.limit(self.own_patience) {
            interrupt::arm(limit);
        }
        answer
    }

    /// Does what is wanted if nothing stands against it, and it is a step that succeeds or a signal that is there.
    fn try_here(&mut self, code: &Code, history: &mut History) -> Here {
        if self.unchecked && !matches!(scope::as_engine(|| self.is_still_right(code)), Ok(true)) {
            // Looked at once more, and acted upon, behind the unwinding.
            self.unchecked = true;
            return Here::Unwind;
        }
        if self.cancel.is_some() || self.run.controlled || slots::is_cancelled() || self.expired(clock()) {
            return Here::Unwind;
        }
        let (name, index, spec) = match history.take_want() {
            Some(Want::Step { name, index, spec }) if spec.apart.is_none() => (name, index, spec),
            Some(Want::Signal { name, ask }) => {
                let now = clock();
                if scope::as_engine(|| self.take_signal(code, history, &name, &ask, now)) {
                    return Here::Done(None);
                }
                history.note_want(Want::Signal { name, ask });
                return Here::Unwind;
            }
            Some(other) => {
                history.note_want(other);
                return Here::Unwind;
            }
            None => return Here::Unwind,
        };
        self.tried = None;
        let begun = index.map(|position| history.row(position).started_at);
        // Twice at most: what was in its neighbours' way, or met a conflict, is tried again in a transaction of its own.
        for _ in 0..2 {
            // What was published comes before a slow step, too.
            let patience = match self.patience(&name) {
                Some(None) if history.has_unwritten() && !self.commit_here(code, history) => break,
                Some(patience) => patience,
                None if self.commit_here(code, history) => None,
                None => break,
            };
            let n = history.number(index);
            self.look_again(&name, None, patience);
            match self.attempt(code, (n, 0), &name, &spec, patience, begun) {
                (Attempt::Done(done), started) => {
                    scope::as_engine(|| {
                        self.write_down(code, history, started);
                        self.record_done(history, &name, index, done, started);
                        let attempt = index.map_or(1, |position| history.row(position).attempt);
                        self.keep_messages(Place::of_call(n, attempt), &name);
                    });
                    self.last_in_place = Some(name);
                    return Here::Done(index);
                }
                (attempt @ (Attempt::TakesLong | Attempt::Conflict), _) => {
                    if matches!(attempt, Attempt::TakesLong) {
                        self.recall
                            .pace(|pace| pace.observe_step(self.run.def_id, &name, PATIENCE));
                    }
                    if self.wrote && !self.commit_here(code, history) {
                        break;
                    }
                }
                failed => {
                    self.tried = Some(failed);
                    break;
                }
            }
        }
        history.note_want(Want::Step { name, index, spec });
        Here::Unwind
    }

    /// Commits what there is and locks the run again. False if the procedure is to be left: the run is another's by now, or
    /// was cancelled, or others have waited long enough.
    ///
    /// # Errors
    /// Unwinds if the commit fails (a deferred constraint): then the batch has failed.
    fn commit_here(&mut self, code: &Code, history: &mut History) -> bool {
        process::exit_if_orphaned();
        scope::release_advisory_locks();
        let (version, others) = scope::as_engine(|| {
            self.write_down(code, history, clock());
            if self.commits == 0 {
                // To the back of the queue, so that the hint is there if this process dies, and in nobody's way.
                if let Some(ticket) = self.terms.ticket.take() {
                    ready::delete(&[ticket]);
                }
                self.terms.ticket = ready::insert_ticket(self.run.owner, i32::from(self.run.priority), self.run.run_id);
            }
            self.set_running();
            send::flush_hints();
            (txn::current_id(), self.others_wait())
        });
        let begun = steady();
        scope::across_commit(txn::commit_and_chain).unwrap_or_else(|error| guard::throw(error));
        fault("committed-in-place");
        self.commits += 1;
        self.recall.note_commit();
        self.wrote = false;
        self.terms.steps = 0;
        let now = steady();
        let budget = self.recall.pace(|pace| {
            pace.observe_commit(now - begun);
            pace.budget()
        });
        self.terms.until = Some(now + budget);
        self.recall.recovered(self.run.run_id, history.len());
        let (relocked, paused) = scope::as_engine(|| {
            let paused = pause::holding(&self.run, &self.recall).is_some();
            (runs::relock(self.run.run_id), paused)
        });
        let ours = relocked.is_some_and(|(found, controlled)| {
            self.run.controlled = controlled;
            found == version
        });
        self.run.version = version;
        self.run.status = runs::Status::Running;
        let time = now - self.began;
        // A long chain is no reason to have short workflows wait: another executor may take its turns on the processor.
        self.long = time > BRIEF;
        let helped = !others || (self.long && slots::step_aside(process::my_database(), self.run.owner));
        let had_enough = time > SLICE.max(10 * self.replay_took);
        self.yields = (had_enough && !helped) || slots::asked_to_quit() || paused;
        ours && !self.run.controlled && !self.yields
    }
}

/// What a procedure's steps need to run where they are called.
pub(crate) struct Stage {
    code: Rc<Code>,
    turn: Turn,
}

impl Stage {
    /// Answers a call whose want is noted in `history`. At the top level of a transaction that may commit.
    pub(crate) fn act(&mut self, history: &mut History) -> Answer {
        let act = || txn::with_nonatomic_spi(|| self.turn.act_here(&self.code, history));
        interrupt::with_cancels(false, || txn::acting_at_top_level(act))
    }
}
