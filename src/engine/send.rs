//! Sending something to a run: signals and cancels. Both insert a row and a hint, and never wait for the run.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::engine::actions::{self, Subject};
use crate::engine::authority::{self, Access};
use crate::engine::start::check_text;
use crate::engine::{admission, ask, calls, step, turn};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::{Json, Oid, RunId, clock, scope};
use crate::store::runs::{self, Brief};
use crate::store::{inbox, ready};

pub(super) const MAX_NAME: usize = 1024;

/// The open or last run of an id whose owner's privileges the caller has. As the engine.
pub(crate) fn find(id: &str, caller: Oid) -> Result<Brief, Error> {
    authority::find(id, caller, Access::Own)
}

/// Keeps a signal for the open run of an id; false if its key was sent before.
pub(crate) fn signal(id: &str, name: &str, payload: &Json, key: Option<&str>) -> Result<bool, Error> {
    check_text("name", name, MAX_NAME)?;
    if let Some(key) = key {
        check_text("key", key, MAX_NAME)?;
    }
    step::check_size(Some(payload), || format!("payload of signal \"{name}\""))?;
    let caller = scope::current_user();
    scope::as_engine(|| {
        let run = find(id, caller)?;
        if !run.status.is_open() {
            return Err(Error::InstanceEnded {
                id: id.to_owned(),
                status: run.status.name().to_owned(),
            });
        }
        let new = inbox::send(run.run_id, name, payload, key, clock(), caller);
        if new {
            // Behind the insert: a sender may repeat itself after the wait that had its signal has ended.
            ask::check_sent(run.run_id, name, payload)?;
            wake(&run);
        }
        Ok(new)
    })
}

/// Asks for the end of the open run of an id; false if it has ended already.
pub(crate) fn cancel(id: &str, reason: Option<&str>) -> Result<bool, Error> {
    actions::check_reason(reason)?;
    let caller = scope::current_user();
    scope::as_engine(|| {
        let run = authority::find(id, caller, Access::Operate)?;
        if !run.status.is_open() {
            return Ok(false);
        }
        if !scope::role_exists(run.owner) {
            return end_orphan(id, &run, caller, reason).map(|()| true);
        }
        inbox::ask(run.run_id, inbox::Action::Cancel, reason, clock(), caller);
        let (run_id, owner) = (run.run_id, run.owner);
        actions::record("cancel", caller, Some(Subject { run_id, id, owner }), reason, None);
        hints::cancelled(run.run_id);
        wake(&run);
        Ok(true)
    })
}

/// Ends a run whose owner was dropped, since no process can become that role to tell it. As the engine.
fn end_orphan(id: &str, run: &Brief, caller: Oid, reason: Option<&str>) -> Result<(), Error> {
    let (run_id, owner) = (run.run_id, run.owner);
    // The role's last executor may be at it.
    hints::holding();
    let locked = runs::lock(&vec![run_id]);
    let locked = locked.first().ok_or_else(|| Error::Busy(id.to_owned()))?;
    turn::give_up(locked, &Error::OwnerDropped(id.to_owned()).into());
    ready::forget(owner);
    actions::record("cancel", caller, Some(Subject { run_id, id, owner }), reason, None);
    Ok(())
}

/// Whom the units of work of an executor's batch have something for, with owner and priority.
#[derive(Default)]
struct Sent {
    runs: HashMap<RunId, (Oid, i16)>,
    queues: HashMap<i32, (Oid, i32)>,
}

thread_local! {
    static SENT: RefCell<Option<Sent>> = const { RefCell::new(None) };
}

/// From here on the hints of a process' steps are collected, for [`flush_hints`] to write before each commit: a thousand units
/// of work that tell one run leave one hint in each batch. A step that is rolled back leaves one too many, which does no
/// harm. Code that runs at the commit itself (a deferred trigger) comes too late for that and writes its own.
pub(crate) fn collect_hints() {
    SENT.set(Some(Sent::default()));
}

/// Runs `f`, whose code commits by itself: what it sends has its hints at once.
pub(crate) fn uncollected<T>(f: impl FnOnce() -> T) -> T {
    let collected = SENT.take();
    let value = f();
    SENT.set(collected);
    value
}

/// Writes the hints that were collected. As the engine.
pub(crate) fn flush_hints() {
    let sent = SENT.with_borrow_mut(|sent| sent.as_mut().map(std::mem::take));
    let Some(Sent { runs, queues }) = sent else { return };
    for (run, (owner, priority)) in runs {
        ready::insert(owner, i32::from(priority), run);
        hints::ready(owner);
    }
    for (queue, (owner, priority)) in queues {
        admission::serve_or_postpone(queue, owner, priority);
    }
}

/// Has a queue served at the end of the batch; false where hints are not collected.
pub(super) fn tell_queue(queue: i32, owner: Oid, priority: i32) -> bool {
    let told = |sent: &mut Sent| {
        sent.queues.insert(queue, (owner, priority));
    };
    SENT.with_borrow_mut(|sent| sent.as_mut().map(told).is_some())
}

/// Makes a run ready that something has been sent to by the engine itself.
pub(crate) fn tell(run: RunId, owner: Oid, priority: i16) {
    let collected = SENT.with_borrow_mut(|sent| {
        sent.as_mut()
            .map(|sent| sent.runs.insert(run, (owner, priority)))
            .is_some()
    });
    if !collected {
        ready::insert(owner, i32::from(priority), run);
        hints::ready(owner);
    }
}

fn wake(run: &Brief) {
    // Code that runs at the commit itself, in no step, comes too late for what is collected.
    if calls::is_acting() {
        return tell(run.run_id, run.owner, run.priority);
    }
    ready::insert(run.owner, i32::from(run.priority), run.run_id);
    hints::ready(run.owner);
}
