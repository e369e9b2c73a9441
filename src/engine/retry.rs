//! Having a run go on that has failed or was cancelled.

use serde_json::json;

use crate::engine::actions::{self, Subject};
use crate::engine::authority::{self, Access};
use crate::engine::history::signal_name;
use crate::engine::{map, task};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::{Timestamp, clock, scope};
use crate::store::operations::{Begun, Reopened};
use crate::store::runs::{self, Locked, Status};
use crate::store::steps::Kind;
use crate::store::waits::NewWait;
use crate::store::{answers, branches, inbox, operations, pauses, ready, timers, waits};

/// Opens the last run of an id again, at the call that it has failed at.
pub(crate) fn retry(id: &str, reason: Option<&str>) -> Result<(), Error> {
    actions::check_reason(reason)?;
    let caller = scope::current_user();
    scope::as_engine(|| {
        let run_id = authority::find(id, caller, Access::Operate)?.run_id;
        check(id, caller)?;
        operations::wait_lock(run_id);
        // Once more: another may have retried or started it during the wait.
        check(id, caller)?;
        let gone = || Error::UnknownInstance(id.to_owned());
        let run = runs::lock(&vec![run_id]).pop().ok_or_else(gone)?;
        if authority::find(id, caller, Access::Operate)?.run_id != run_id {
            return Err(gone());
        }
        hints::holding();
        let from = reopen(&run, clock());
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

/// Opens a run that has ended, under its lock; returns number and name of the call that it goes on at.
///
/// A call that others have worked on (a map, a child, a begun step) is opened again where it stands: what has been done of it
/// stays done. Any other is taken off the history, for the function to make it anew.
fn reopen(run: &Locked, now: Timestamp) -> Option<(i32, String)> {
    let reopened = operations::reopen_calls(run.run_id);
    for call in &reopened {
        resume(run, call, now);
    }
    for call in operations::reopen_begun(run.run_id) {
        resume_begun(run, call, now);
    }
    let cut = operations::cut_failure(run.run_id);
    open(run, now);
    reopened.into_iter().map(|call| (call.n, call.name)).next().or(cut)
}

/// Has a run that has ended go on with the history that it has, under its lock.
pub(super) fn open(run: &Locked, now: Timestamp) {
    let (run_id, priority) = (run.run_id, i32::from(run.priority));
    // What was asked of it, or set, before its end.
    inbox::take_cancels(run_id);
    pauses::forget_ended(run_id);
    if let Some(deadline) = operations::reopen(run_id, now) {
        timers::insert(deadline, run_id, timers::DEADLINE, run.owner, priority);
        hints::timer(deadline);
    }
    ready::insert(run.owner, priority, run_id);
    hints::ready(run.owner);
}

/// Has others go on with a call that is open again.
fn resume(run: &Locked, call: &Reopened, now: Timestamp) {
    let children = call
        .request
        .as_ref()
        .and_then(|request| request.field("workflow"))
        .is_some();
    let again = |begun: i32| {
        if children {
            // One that has ended since the run has may have answered in vain.
            branches::sync(run.run_id, call.n);
            operations::reopen_branches(run.run_id, call.n, begun).len() as i32
        } else {
            reopen_branches(run, call.n, begun)
        }
    };
    if call.kind == Kind::Map {
        let progress = map::reopened(call.request.as_ref(), call.progress.as_ref(), again);
        operations::set_progress(run.run_id, call.n, &progress);
    } else if call.kind == Kind::Step {
        again(1);
    }
    reopen_children(run, call.n, now);
}

/// Has executors make the branches of a call that are not done, of the first `begun`; returns how many.
fn reopen_branches(run: &Locked, n: i32, begun: i32) -> i32 {
    let items = operations::reopen_branches(run.run_id, n, begun);
    for item in &items {
        ready::insert_branches(run.owner, i32::from(run.priority), run.run_id, n, *item, *item);
    }
    items.len() as i32
}

fn reopen_children(run: &Locked, n: i32, now: Timestamp) {
    // Where a child is locked, somebody opens it just now.
    for child in runs::lock(&operations::failed_children(run.run_id, n)) {
        reopen(&child, now);
    }
}

/// Has others go on with a begun call that the end of its run had cut off. What has been done of it since counts.
fn resume_begun(run: &Locked, call: Begun, now: Timestamp) {
    let Begun {
        n,
        kind,
        name,
        request,
        due_at,
    } = call;
    answers::forget(run.run_id, n);
    match kind {
        Kind::Step => {
            reopen_branches(run, n, 1);
        }
        Kind::Child => {
            for child in operations::open_children(run.run_id, n) {
                // Asked for by the end of this run.
                inbox::take_cancels(child);
            }
            reopen_children(run, n, now);
        }
        Kind::Task => task::reopen(run.run_id, n, now),
        Kind::Signal => {
            waits::begin(
                run.run_id,
                &NewWait {
                    n,
                    name: &signal_name(request.as_ref(), &name),
                    since: now,
                    due_at,
                    prompt: None,
                    schema: None,
                    default: None,
                },
            );
        }
        _ => {}
    }
    answers::give_anew(run.run_id, n);
    if let Some(due) = due_at {
        timers::insert(due, run.run_id, n, run.owner, i32::from(run.priority));
        hints::timer(due);
    }
}

/// Refuses an id whose last run has not failed, or has undone what it had done.
pub(super) fn check(id: &str, caller: crate::pg::Oid) -> Result<(), Error> {
    let run = authority::find(id, caller, Access::Operate)?;
    match run.status {
        Status::Failed | Status::Cancelled if operations::was_compensated(run.run_id) => {
            Err(Error::Compensated(id.to_owned()))
        }
        Status::Failed | Status::Cancelled => Ok(()),
        Status::Completed => Err(Error::NotFailed(id.to_owned())),
        status => Err(Error::NotEnded {
            id: id.to_owned(),
            detail: format!("Its status is {}.", status.name()),
            hint: "It goes on by itself, unless it is paused: see wf_status(id).",
        }),
    }
}
