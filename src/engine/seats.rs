//! What steps and runs have in a queue: a place, which waits until it is admitted ([`super::admission`]), and is given back
//! when the run has ended or the step has made its attempt.

use crate::engine::admission::{hint, hint_now, make_ready};
use crate::engine::queue::tell_workers;
use crate::engine::start::check_text;
use crate::engine::{backlog, calls, rehearsal};
use crate::error::Error;
use crate::pg::{Json, Oid, RunId, Timestamp, fault};
use crate::store::branches::{Branch, LockedBranch};
use crate::store::places::{self, Units};
use crate::store::queues::{self, Queue};
use crate::store::{dedup, runs};

/// What a call says of its queue, as it stands in its request.
pub(crate) fn check(queue: &str, key: Option<&str>, dedup: Option<&str>) -> Result<(), Error> {
    check_text("queue", queue, 1024)?;
    for (name, text) in [("key", key), ("dedup", dedup)] {
        if let Some(text) = text {
            check_text(name, text, calls::MAX_KEY)?;
        }
    }
    Ok(())
}

/// Where something takes its turn.
pub(super) struct Seat<'a> {
    pub(super) queue: Queue,
    pub(super) owner: Oid,
    pub(super) priority: i32,
    pub(super) key: &'a str,
    /// By `wf_start`, and not in the turn of a run.
    pub(super) by_client: bool,
}

impl Seat<'_> {
    /// Puts steps or a run into the queue; true if they may begin at once, since it has no limit.
    pub(super) fn take(&self, units: Units, now: Timestamp) -> bool {
        // In a rehearsal nobody else is there to wait for.
        let at_once = !self.queue.limited || rehearsal::is_on();
        places::insert(units, self.queue.id, at_once, self.priority, self.key, now);
        if !at_once {
            if self.by_client && !calls::is_acting() {
                hint_now(self.queue.id, self.owner, self.priority);
            } else {
                hint(self.queue.id, self.owner, self.priority);
            }
        }
        at_once
    }

    /// What the row of a run says of it, which has a key for duplicates.
    pub(super) fn to_json(&self, dedup: Option<&str>) -> Json {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        Json::object(&[
            ("id", Some(self.queue.id.to_string())),
            ("key", Some(text(self.key))),
            ("dedup", dedup.map(text)),
        ])
    }

    /// As [`Self::take`]; those that may begin are made ready.
    pub(super) fn queue(&self, units: Units, now: Timestamp) {
        if self.take(units, now) {
            make_ready(units, self.owner, self.priority);
        }
    }
}

/// Gives the place of a step or run back.
pub(super) fn leave(unit: Branch, owner: Oid, priority: i16) {
    if let Some(left) = places::leave(unit)
        && left.serves
    {
        fault("seat-left");
        hint(left.queue_id, owner, i32::from(priority));
        tell_workers(&left.queue, left.notifies);
    }
}

// --- runs ------------------------------------------------------------------------------------------------------------

/// The queue that a run takes its turn in, as its row says.
struct OfRun {
    id: i32,
    key: String,
    dedup: Option<String>,
}

impl OfRun {
    fn read(json: &Json) -> Self {
        let value = json.to_value();
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Self {
            id: value["id"].as_i64().unwrap_or_default() as i32,
            key: text("key").unwrap_or_default(),
            dedup: text("dedup"),
        }
    }
}

/// True if a run may have its turn: it has a place that was admitted. One that has none gets in line.
pub(super) fn admits_run(run: &runs::Locked, now: Timestamp) -> bool {
    let Some(of_run) = run.queue.as_ref().map(OfRun::read) else {
        return true;
    };
    if let Some(admitted) = places::is_admitted(places::whole(run.run_id)) {
        return admitted;
    }
    let Some(queue) = queues::get(of_run.id) else {
        return true;
    };
    let seat = Seat {
        queue,
        owner: run.owner,
        priority: i32::from(run.priority),
        key: &of_run.key,
        by_client: false,
    };
    seat.take(places::whole(run.run_id).into(), now)
}

/// Gives the place of a run back.
pub(super) fn leave_run(run: &runs::Locked) {
    if run.queue.is_some() {
        leave(places::whole(run.run_id), run.owner, run.priority);
    }
}

/// A run has ended.
pub(super) fn end_run(run: &runs::Locked) {
    let Some(of_run) = run.queue.as_ref().map(OfRun::read) else {
        return;
    };
    leave_run(run);
    if let Some(key) = &of_run.dedup {
        let queue_id = of_run.id;
        dedup::give_back(dedup::Key { queue_id, key }, run.run_id);
    }
}

// --- steps -----------------------------------------------------------------------------------------------------------

fn text(request: Option<&Json>, key: &str) -> Option<String> {
    let value = request?.field(key)?.to_value();
    value.as_str().map(str::to_owned)
}

/// Puts steps, the items of a call, into the queue that its request names; false if it names none. `anew`: they come into it,
/// and have not been in it before.
pub(super) fn queue_steps(
    request: Option<&Json>,
    units: Units,
    owner: Oid,
    priority: i16,
    anew: bool,
    now: Timestamp,
) -> Result<bool, Error> {
    let Some(name) = text(request, "queue") else {
        return Ok(false);
    };
    let queue = queues::find(owner, &name, now);
    if anew {
        backlog::make_room(&queue, &name, owner)?;
    }
    let seat = Seat {
        queue,
        owner,
        priority: i32::from(priority),
        key: &text(request, "key").unwrap_or_default(),
        by_client: false,
    };
    seat.queue(units, now);
    Ok(true)
}

/// True if a step may make its attempt: its call names no queue, or it has a place that was admitted. One that has none gets
/// in line: its retry is due.
pub(super) fn admits_step(step: &LockedBranch, run: &runs::Locked, now: Timestamp) -> bool {
    let Some(name) = text(step.request.as_ref(), "queue") else {
        return true;
    };
    if let Some(admitted) = places::is_admitted(step.branch) {
        return admitted;
    }
    let seat = Seat {
        queue: queues::find(run.owner, &name, now),
        owner: run.owner,
        priority: i32::from(run.priority),
        key: &text(step.request.as_ref(), "key").unwrap_or_default(),
        by_client: false,
    };
    seat.take(step.branch.into(), now)
}

/// An attempt of a step has ended, or it will not be made.
pub(super) fn end_attempt(step: &LockedBranch, run: &runs::Locked) {
    if text(step.request.as_ref(), "queue").is_some() {
        leave(step.branch, run.owner, run.priority);
    }
}

/// A call is not waited for any more: its steps that wait in a queue leave it.
pub(super) fn withdraw(request: Option<&Json>, run: RunId, n: i32) {
    if text(request, "queue").is_some() {
        places::withdraw(run, Some(n));
    }
}

/// As [`withdraw`], of all calls of a run.
pub(super) fn withdraw_all(run: RunId) {
    places::withdraw(run, None);
}
