//! What a call of the function has come to, and how the turn goes on from there: at once, or in the next transaction if an
//! error has left a procedure.

use std::ops::ControlFlow::{self, Break, Continue};
use std::rc::Rc;

use pg_workflow_core::batch::{LARGEST_BUDGET, PATIENCE};

use crate::engine::code::Code;
use crate::engine::history::{History, Want};
use crate::engine::recall::Recall;
use crate::engine::remarks;
use crate::engine::step;
use crate::engine::turn::{End, Ended, LONG, Terms, Turn};
use crate::error::{CANCELLED, Error};
use crate::hub::slots;
use crate::pg::errdata::QUERY_CANCELED;
use crate::pg::{Json, PgError, RunId, Timestamp, clock, guard, txn};
use crate::store::inbox;
use crate::store::ready::Ticket;
use crate::store::runs::{Locked, Status};

/// A call of the function that has come to an end.
pub(super) struct Passage {
    pub(super) code: Rc<Code>,
    pub(super) history: History,
    pub(super) outcome: Result<Option<Json>, PgError>,
    /// The timer has fired.
    pub(super) fired: bool,
    /// What the function itself was allowed, in microseconds.
    pub(super) patience: Option<i64>,
}

/// A turn whose transaction was aborted by the error that has left a procedure.
pub(crate) struct Interrupted {
    pub(super) turn: Turn,
    pub(super) passage: Passage,
    pub(super) next: Next,
}

/// How an interrupted turn goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing was lost: by what the procedure wanted when it was left.
    Follow,
    /// Uncommitted steps are lost: from what is in the tables.
    Anew,
    /// Not now: others are waiting, and a hint is in the queue.
    Later,
}

impl Interrupted {
    pub(crate) fn run_id(&self) -> RunId {
        self.turn.run.run_id
    }

    /// That of the run's row, as long as nobody else has taken a turn.
    pub(crate) fn version(&self) -> i32 {
        self.turn.run.version
    }

    pub(crate) fn ticket(&self) -> Option<Ticket> {
        self.turn.terms.ticket
    }

    /// The turn, if it is to be gone on with now. Otherwise what is remembered of it is kept for its next one.
    pub(crate) fn now(self, recall: &Recall) -> Option<Self> {
        if self.next == Next::Later {
            recall.keep(self.run_id(), self.version(), self.passage.history);
            return None;
        }
        Some(self)
    }
}

impl Turn {
    /// Goes on with what was interrupted, in a new transaction that has locked the run again and found it unchanged.
    pub(crate) fn go_on(interrupted: Interrupted, run: Locked, terms: Terms) -> Ended {
        let Interrupted {
            mut turn,
            passage,
            next,
        } = interrupted;
        let now = clock();
        turn.run = run;
        turn.terms = terms;
        turn.commits = 0;
        turn.yields = false;
        turn.long = false;
        turn.read_controls();
        if next == Next::Follow {
            let code = Rc::clone(&passage.code);
            return match turn.follow(passage) {
                Break(end) => turn.ended(end),
                Continue(history) => turn.play(code, history),
            };
        }
        // What this process remembers is of before the steps were lost; the tables are right.
        turn.last_in_place = None;
        turn.tried = None;
        turn.begin(now)
    }

    /// Does what a passage has come to; goes on if there is a new answer, by a replay.
    pub(super) fn follow(&mut self, passage: Passage) -> ControlFlow<End, History> {
        let Passage {
            code,
            mut history,
            outcome,
            fired,
            patience,
        } = passage;
        match self.is_still_right(&code) {
            Ok(true) => {}
            // What it wanted is forgotten: it may have been another version that wanted it.
            Ok(false) => return Break(self.want_alone(history)),
            Err(error) => return Break(self.fail(&code, history, Status::Failed, &error)),
        }
        self.wrote |= remarks::record(&self.run);
        let now = clock();
        if std::mem::take(&mut self.between) {
            return Continue(history);
        }
        if fired {
            // Whatever the function made of it: it may be of a language that swallowed the interruption and went on, so
            // that neither its result nor what it wanted last is to be trusted.
            return Break(self.interrupted_by_timer(&code, history, patience, now));
        }
        if let Some(want) = history.take_want() {
            // Whatever the function made of the unwinding (an error, or a value of a language that swallowed it).
            return self.fulfil_all(&code, history, want, now);
        }
        match outcome {
            Ok(result) => Break(self.returned(&code, history, result, now)),
            Err(error) if error.sqlstate == QUERY_CANCELED && slots::take_cancel() => {
                // Interrupted in the function's own code: it goes on to its next call, to be told there.
                let asked = inbox::take_cancels(self.run.run_id).into_iter().next();
                self.cancel = self.cancel.take().or(asked);
                Continue(history)
            }
            Err(error) if error.sqlstate == QUERY_CANCELED && slots::stops_here() => guard::throw(error),
            Err(error)
                if error.sqlstate == QUERY_CANCELED
                    && self.terms.until.is_some()
                    && !std::mem::replace(&mut self.stray, true) =>
            {
                // Perhaps of a cancel that has been delivered already. It decides and does not act: again, once.
                Continue(history)
            }
            Err(error) => {
                let status = if error.sqlstate == CANCELLED {
                    Status::Cancelled
                } else {
                    Status::Failed
                };
                Break(self.fail(&code, history, status, &error))
            }
        }
    }

    /// Does what the function wants, and what it wants behind that, as far as it gets; goes on by a replay.
    fn fulfil_all(
        &mut self,
        code: &Code,
        mut history: History,
        mut want: Want,
        mut now: Timestamp,
    ) -> ControlFlow<End, History> {
        if history.wants_more() {
            // What the replay has cost is to be worth it, however long the history: as much time for steps.
            let worth = clock() + self.replay_took.min(LARGEST_BUDGET);
            self.terms.until = self.terms.until.map(|until| until.max(worth));
        }
        loop {
            match self.fulfil(code, &mut history, want, now) {
                Some(End::Alone) => return Break(self.want_alone(history)),
                Some(End::Yield) => return Break(self.yield_turn(history)),
                Some(end) => {
                    // Unless the run has ended: then nobody asks for it.
                    if history.len() >= LONG {
                        self.recall.keep(self.run.run_id, txn::current_id(), history);
                    }
                    return Break(end);
                }
                None if self.is_over() => return Break(self.yield_turn(history)),
                None => {}
            }
            let Some(next) = history.take_next_want() else {
                return Continue(history);
            };
            (want, now) = (next, clock());
        }
    }

    /// The function's own code has used the time that it was given.
    fn interrupted_by_timer(
        &mut self,
        code: &Code,
        mut history: History,
        patience: Option<i64>,
        now: Timestamp,
    ) -> End {
        if let Some(reason) = self.cancel.take() {
            // It does not get to a call at which it could be told: no more waiting for it.
            return self.fail(code, history, Status::Cancelled, &Error::Cancelled { reason }.into());
        }
        // A timer's milliseconds may end a little before the deadline does.
        if patience.is_none() || self.expired(now) {
            return self.expire(code, &mut history, Some("its own code".to_owned()));
        }
        self.recall
            .pace(|pace| pace.observe_step(self.run.def_id, "", PATIENCE));
        self.want_alone(history)
    }

    fn returned(&mut self, code: &Code, mut history: History, result: Option<Json>, now: Timestamp) -> End {
        self.write_down(code, &mut history, now);
        let refused = match history.unasked() {
            Some(expected) => Some(Error::Diverged {
                expected,
                found: "the end of the workflow".to_owned(),
            }),
            None => step::check_size(result.as_ref(), || "result of the workflow".to_owned()).err(),
        };
        if let Some(error) = refused {
            return self.fail(code, history, Status::Failed, &error.into());
        }
        if self.lingers
            && let Some(reason) = self.cancel.take()
        {
            return self.fail(code, history, Status::Cancelled, &Error::Cancelled { reason }.into());
        }
        if !history.lingering().is_empty() {
            // It has no end before what it has begun has one; then it returns once more.
            let end = self.wait(&history);
            self.recall.keep(self.run.run_id, txn::current_id(), history);
            return end;
        }
        history.abandon(now);
        self.close(Status::Completed, result.as_ref(), None)
    }
}
