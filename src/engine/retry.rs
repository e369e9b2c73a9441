//! Having a run go on that has failed or was cancelled.

use serde_json::json;

use crate::engine::actions::{self, Subject};
use crate::engine::send::find;
use crate::error::Error;
use crate::hub::hints;
use crate::pg::{clock, scope};
use crate::store::runs::{self, Status};
use crate::store::{inbox, operations, pauses, ready, timers};

/// Opens the last run of an id again, at the call that it has failed at.
pub(crate) fn retry(id: &str, reason: Option<&str>) -> Result<(), Error> {
    let caller = scope::current_user();
    scope::as_engine(|| {
        let run_id = find(id, caller)?.run_id;
        check(id, caller)?;
        operations::wait_lock(run_id);
        // Once more: another may have retried or started it during the wait.
        check(id, caller)?;
        let gone = || Error::UnknownInstance(id.to_owned());
        let run = runs::lock(&vec![run_id]).pop().ok_or_else(gone)?;
        if find(id, caller)?.run_id != run_id {
            return Err(gone());
        }
        hints::holding();
        let now = clock();
        // What was asked of it, or set, before its end.
        inbox::take_cancels(run_id);
        pauses::forget_ended(run_id);
        let from = operations::cut_failure(run_id);
        if let Some(deadline) = operations::reopen(run_id, now) {
            timers::insert(deadline, run_id, timers::DEADLINE, run.owner, i32::from(run.priority));
            hints::timer(deadline);
        }
        ready::insert(run.owner, i32::from(run.priority), run_id);
        hints::ready(run.owner);
        let subject = Subject {
            run_id,
            id,
            owner: run.owner,
        };
        let detail = json!({
            "status": run.status.name(),
            "n": from.as_ref().map(|(n, _)| n),
            "step": from.as_ref().map(|(_, name)| name),
        });
        actions::record("retry", caller, Some(subject), reason, Some(&detail));
        Ok(())
    })
}

/// Refuses an id whose last run has not failed.
fn check(id: &str, caller: crate::pg::Oid) -> Result<(), Error> {
    match find(id, caller)?.status {
        Status::Failed | Status::Cancelled => Ok(()),
        Status::Completed => Err(Error::NotFailed(id.to_owned())),
        status => Err(Error::NotEnded {
            id: id.to_owned(),
            detail: format!("Its status is {}.", status.name()),
            hint: "It goes on by itself, unless it is paused: see wf_status(id).",
        }),
    }
}
