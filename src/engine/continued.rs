//! `wf_continue_as_new`: the run ends, and the next run of its id begins at once with another input, on the newest code. So a
//! workflow that never ends has no history that never ends.
//!
//! Signals and cancels that were sent to the old run and not taken go along. What a client sends meanwhile, in a transaction
//! that cannot see the new run yet, comes with a hint for the old one, whose turn forwards it.

use crate::engine::calls::{deliver, with_history};
use crate::engine::code::Code;
use crate::engine::history::{CONTINUE, History, Want};
use crate::engine::turn::{End, Turn};
use crate::engine::{send, start, step};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::{Json, RunId, fault, scope, txn};
use crate::store::runs::{self, Status};
use crate::store::steps::Kind;
use crate::store::{inbox, pauses};

/// `wf_continue_as_new`: does not return.
pub(crate) fn call(input: &Json) -> Result<(), Error> {
    let answer = with_history("wf_continue_as_new", |history| {
        step::check_size(Some(input), || "input of the workflow".to_owned())?;
        history.answer(Kind::Continue, CONTINUE, |_| {
            Ok(Want::Continue { input: input.clone() })
        })
    })?;
    deliver(answer).map(|_| ())
}

impl Turn {
    /// Ends the run in favour of a new one. `None`: that has failed, and the function is told.
    pub(super) fn continue_as_new(&mut self, code: &Code, history: &mut History, input: &Json) -> Option<End> {
        if !history.lingering().is_empty() {
            // As at the end of the function: what it has begun comes first.
            return Some(self.wait(history));
        }
        let started = scope::as_owner(self.run.owner, &code.search_path, || {
            txn::subtransaction(|| {
                start::start_next(&self.run, &code.workflow, input).unwrap_or_else(|error| error.throw())
            })
        });
        match started {
            Ok(next) => {
                history.abandon(crate::pg::clock());
                inbox::forward(self.run.run_id, next);
                fault("continued");
                if pauses::pass_on(self.run.run_id, next) {
                    hints::paused();
                }
                self.cancel = None;
                Some(self.close(Status::Continued, None, None))
            }
            Err(error) => {
                self.record_failed(history, Kind::Continue, CONTINUE, &error);
                None
            }
        }
    }
}

/// Something has come for a run that was continued: the next one gets it. As the engine.
pub(super) fn forward(run: RunId) {
    if let Some(next) = runs::next(run) {
        inbox::forward(run, next.run_id);
        send::tell(next.run_id, next.owner, next.priority);
    }
}
