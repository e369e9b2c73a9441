//! Steps behind the first one without an answer.
//!
//! A function that does not use what a step returns (`PERFORM wf_step(...)`) takes the same way whatever that is, up to its next
//! call of another sort. So it is not unwound there, but goes on, and the steps that it comes to are run in one go: a replay
//! for many, where a long function would need one for each. All that holds only if they succeed, and if the function has
//! looked at nothing that they change. So what comes behind a step that fails or has to wait is forgotten, and what comes
//! behind a query that names a table is not listened to.

use std::collections::VecDeque;

use pg_workflow_core::batch::MAX_STEPS;

use super::{Answer, Entry, History, Want};
use crate::error::Error;
use crate::pg::{Timestamp, clock, reads};
use crate::store::steps::{Kind, StepStatus};

/// Recorded calls from which on a replay is dear enough.
const FROM: usize = 32;

/// Time that the function's own code may take behind the first step, in microseconds: it may be for nothing.
const TIME: i64 = 2_000;

#[derive(Default)]
pub(super) struct Ahead {
    /// What comes behind the want, in order.
    steps: VecDeque<Want>,
    /// More may come: until when, and how many relations had been looked at when it began.
    open: Option<(Timestamp, u64)>,
}

impl Ahead {
    /// The want is noted, and the function goes on.
    fn begin(&mut self) {
        self.open = Some((clock() + TIME, reads::count()));
    }

    /// From here on nothing counts.
    pub(super) fn stop(&mut self) {
        self.open = None;
    }

    fn goes_on(&self) -> bool {
        self.steps.len() + 1 < MAX_STEPS as usize
            && self
                .open
                .is_some_and(|(until, read)| clock() < until && reads::count() == read)
    }
}

impl History {
    /// As [`Self::answer`], for a step whose result nobody uses.
    pub(crate) fn answer_unused(
        &mut self,
        name: &str,
        want: impl FnOnce(Option<usize>) -> Result<Want, Error>,
    ) -> Result<Answer, Error> {
        if self.want.is_none() {
            let answer = self.answer(Kind::Step, name, want)?;
            let long = self.entries.len() >= FROM;
            if !matches!(answer, Answer::Unwind) || !long || !self.want.as_ref().is_some_and(runs_in_turn) {
                return Ok(answer);
            }
            self.ahead.begin();
            return Ok(Answer::Ahead);
        }
        // An error belongs to the replay that finds the steps before it done.
        let wanted = self.ahead.goes_on().then(|| want(None).ok()).flatten();
        if let Some(wanted) = wanted.filter(runs_in_turn) {
            self.ahead.steps.push_back(wanted);
            return Ok(Answer::Ahead);
        }
        self.ahead.stop();
        Ok(Answer::UnwindAgain)
    }

    /// True if it wants something behind what it wants.
    pub(crate) fn wants_more(&self) -> bool {
        !self.ahead.steps.is_empty()
    }

    /// What it wants behind what it wanted, now that that is done: see [`Ahead`].
    pub(crate) fn take_next_want(&mut self) -> Option<Want> {
        let went_well = |entry: &Entry| entry.row.status == StepStatus::Completed;
        if self.entries.last().is_some_and(went_well) {
            self.ahead.steps.pop_front()
        } else {
            None
        }
    }
}

/// True if it is a step, not begun yet, that runs in the turn.
fn runs_in_turn(want: &Want) -> bool {
    matches!(want, Want::Step { index: None, spec, .. } if spec.apart.is_none())
}
