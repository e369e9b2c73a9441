//! Whose turn it is in a queue: limits, keys, backlog.
//!
//! Tasks are claimed by workers ([`super::queue`]). Steps and runs are admitted by executors of their owner: their place waits
//! ([`crate::store::places`]), and a hint in `ready` says that the queue is to be served. Who puts something into a queue with a
//! limit, or gives a place of it back, leaves such a hint in its transaction, whatever it sees of the queue: only behind its
//! commit can be seen what it has done, and what others have done meanwhile.
//!
//! Who serves a queue with a limit or keys locks its row. Executors do not wait for it: one that finds it locked looks again
//! when the other's transaction ends.

use std::collections::HashSet;

use pg_workflow_core::limit::Bucket;

use crate::engine::start::check_text;
use crate::engine::{calls, rehearsal, send, task, turn};
use crate::error::Error;
use crate::hub::{hints, slots};
use crate::pg::{Json, Oid, PgError, RunId, Timestamp, clock};
use crate::store::branches::{self, Branch, LockedBranch, Outcome};
use crate::store::places::{self, Place, Units};
use crate::store::queues::{self, Locked, Queue};
use crate::store::runs::{self, Status};
use crate::store::steps::StepStatus;
use crate::store::{answers, dedup, ready, timers};

/// Longest key, in bytes: it stands in a btree index.
const MAX_KEY: usize = 1024;

/// What a call says of its queue, as it stands in its request.
pub(crate) fn check(queue: &str, key: Option<&str>, dedup: Option<&str>) -> Result<(), Error> {
    check_text("queue", queue, 1024)?;
    for (name, text) in [("key", key), ("dedup", dedup)] {
        if let Some(text) = text {
            check_text(name, text, MAX_KEY)?;
        }
    }
    Ok(())
}

// --- limits ----------------------------------------------------------------------------------------------------------

/// How many may begin now.
pub(super) struct Room {
    pub(super) count: u32,
    /// When a rate allows the next, if that is what it lacks.
    pub(super) next: Option<Timestamp>,
}

fn bucket(queue: &Locked) -> Option<Bucket> {
    Some(Bucket {
        rate: queue.rate?,
        per: queue.per?,
        tokens: queue.tokens.unwrap_or_default(),
        filled_at: queue.filled_at,
    })
}

/// How many of a queue may begin now, `wanted` at most.
pub(super) fn room(id: i32, queue: &mut Locked, wanted: u32, now: Timestamp) -> Room {
    let mut count = wanted;
    if let Some(max) = queue.max_running {
        count = count.min(max.saturating_sub(queues::running(id, max)).max(0) as u32);
    }
    let mut next = None;
    if let Some(filled) = bucket(queue).map(|bucket| bucket.filled(now)) {
        (queue.tokens, queue.filled_at) = (Some(filled.tokens), filled.filled_at);
        next = (count > 0 && filled.available() == 0).then(|| filled.next());
        count = count.min(filled.available());
    }
    Room { count, next }
}

/// So many have begun.
pub(super) fn spend(queue: &mut Locked, begun: u32) {
    queue.tokens = queue.tokens.map(|tokens| tokens - f64::from(begun));
}

/// What has become of a place that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    /// It was nobody's any more, and is gone.
    Swept,
    /// Another has what it is the place of.
    No,
}

/// Offers up to `room` places of a queue, best first, whatever their keys.
pub(super) fn pick(queue: i32, inside: bool, room: u32, mut offer: impl FnMut(Place) -> Taken) -> u32 {
    let mut left = room;
    let mut swept = true;
    // In the place of those that were swept others are looked for.
    while left > 0 && std::mem::take(&mut swept) {
        for place in places::next(queue, inside, left) {
            match offer(place) {
                Taken::Yes => left -= 1,
                Taken::Swept => swept = true,
                Taken::No => {}
            }
        }
    }
    room - left
}

/// As [`pick`], in each priority one of each key in turn, from the one behind that which was served last. The queue is locked.
pub(super) fn pick_by_keys(
    id: i32,
    inside: bool,
    queue: &mut Locked,
    room: u32,
    mut offer: impl FnMut(Place) -> Taken,
) -> u32 {
    let limit = queue.max_running_per_key;
    let mut left = room;
    let mut before = i32::MIN;
    while left > 0
        && let Some(priority) = places::next_priority(id, inside, before)
    {
        before = priority;
        // Keys of which nothing can be had, since the last of which something could.
        let mut barren = HashSet::new();
        while left > 0
            && let Some(key) = places::next_key(id, inside, priority, &queue.last_key, limit)
        {
            let mut after = i64::MIN;
            let mut taken = false;
            while !taken && let Some(place) = places::of_key(id, inside, priority, &key, after) {
                after = place.seq;
                taken = offer(place) == Taken::Yes;
            }
            queue.last_key.clone_from(&key);
            if taken {
                left -= 1;
                barren.clear();
            } else if !barren.insert(key) {
                break;
            }
        }
    }
    room - left
}

// --- steps and runs --------------------------------------------------------------------------------------------------

/// Steps and runs admitted at a time.
const BATCH: u32 = 100;

/// Pause before a queue is looked at again whose places tasks have, in microseconds: a worker's transaction that ends
/// one may have begun before anything waited inside, and then does not tell.
const TASKS_PAUSE: i64 = 1_000_000;

/// Has a queue served. In the transaction of what makes that worth while.
pub(super) fn hint(queue: i32, owner: Oid, priority: i32) {
    if !send::tell_queue(queue, owner, priority) {
        hint_now(queue, owner, priority);
    }
}

/// As [`hint`], for code that may run at a commit, and so too late for what is collected.
fn hint_now(queue: i32, owner: Oid, priority: i32) {
    insert_hint(queue, owner, priority);
    hints::ready(owner);
}

fn insert_hint(queue: i32, owner: Oid, priority: i32) {
    let Branch { run_id, n, item } = queues::unit(queue);
    ready::insert_branches(owner, priority, run_id, n, item, item);
}

/// Serves a queue; or leaves a hint if another has it locked, for whoever is woken by the end of the other's transaction.
pub(super) fn serve_or_postpone(queue: i32, owner: Oid, priority: i32) {
    if !serve(queue, owner) {
        slots::set_contended();
        if !serve(queue, owner) {
            insert_hint(queue, owner, priority);
        }
    }
}

/// Admits what may begin now of the steps and runs that wait in a queue; false if another has it locked. As the engine.
pub(super) fn serve(id: i32, owner: Oid) -> bool {
    let Some(mut queue) = queues::try_lock(id) else {
        return false;
    };
    hints::holding();
    if queue.paused {
        return true;
    }
    let now = clock();
    let room = room(id, &mut queue, BATCH, now).count;
    let mut admitted = 0;
    let mut more_at = 0;
    if room > 0 {
        admitted = pick_by_keys(id, true, &mut queue, room, |place| {
            more_at = i32::from(place.priority);
            admit(&place, owner);
            Taken::Yes
        });
        spend(&mut queue, admitted);
    }
    if admitted == BATCH {
        hint_now(id, owner, more_at);
    } else if let Some(priority) = places::next_priority(id, true, i32::MIN) {
        let lacks_tokens = bucket(&queue).filter(|bucket| bucket.available() == 0);
        let due = match lacks_tokens {
            Some(bucket) => Some(bucket.next()),
            None => queues::runs_tasks(id).then_some(now + TASKS_PAUSE),
        };
        let is_set = |due| queue.serve_at.is_some_and(|at| at > now && at <= due);
        if let Some(due) = due.filter(|due| !is_set(*due)) {
            timers::insert_branch(due, queues::unit(id), owner, priority);
            hints::timer(due);
            queue.serve_at = Some(due);
        }
    }
    queues::served(id, &queue);
    true
}

fn admit(place: &Place, owner: Oid) {
    places::run(place);
    make_ready(
        Units {
            run_id: place.run_id,
            n: place.n,
            first: place.item,
            last: place.item,
        },
        owner,
        i32::from(place.priority),
    );
}

fn make_ready(units: Units, owner: Oid, priority: i32) {
    let Units { run_id, n, first, last } = units;
    if n == 0 {
        ready::insert(owner, priority, run_id);
    } else {
        ready::insert_branches(owner, priority, run_id, n, first, last);
    }
    hints::ready(owner);
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
        hint(left.queue_id, owner, i32::from(priority));
        hints::tasks(&left.queue);
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
    seat.take(one(places::whole(run.run_id)), now)
}

/// A single step, or a run.
pub(super) fn one(unit: Branch) -> Units {
    Units {
        run_id: unit.run_id,
        n: unit.n,
        first: unit.item,
        last: unit.item,
    }
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
        make_room(&queue, &name, owner)?;
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
    seat.take(one(step.branch), now)
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

// --- backlog ---------------------------------------------------------------------------------------------------------

/// Sees that there is room for one more that waits: by dropping what has waited longest, where the queue says so. What is not
/// committed yet is not counted.
///
/// # Errors
/// WF009 if the backlog is full.
pub(super) fn make_room(queue: &Queue, name: &str, owner: Oid) -> Result<(), Error> {
    let Some(limit) = queue
        .max_backlog
        .filter(|limit| queues::waiting(queue.id, *limit) >= *limit)
    else {
        return Ok(());
    };
    let full = |dropped| Error::QueueFull {
        queue: name.to_owned(),
        limit,
        dropped,
    };
    if !queue.drops_oldest {
        return Err(full(false));
    }
    // Locked, it is about to begin.
    if let Some(place) = places::oldest(queue.id, limit) {
        drop_waiting(&place, owner, &full(true).into());
    }
    Ok(())
}

fn drop_waiting(place: &Place, owner: Oid, error: &PgError) {
    let now = clock();
    // Who finds it locked looks again.
    hints::holding();
    let unit = Branch {
        run_id: place.run_id,
        n: place.n,
        item: place.item,
    };
    if !place.inside {
        task::drop_waiting(place, owner, error, now);
    } else if place.n == 0 {
        for run in runs::lock(&vec![place.run_id]) {
            if run.status == Status::Pending {
                turn::give_up(&run, error);
            }
        }
    } else if let Some((step, run)) = branches::lock(&[unit]).pop() {
        let error = Json::from_value(&error.to_json());
        branches::update(
            unit,
            &Outcome {
                status: StepStatus::Failed.name(),
                attempt: step.attempt,
                result: None,
                error: Some(&error),
                started_at: step.started_at.unwrap_or(now),
                finished_at: Some(now),
                due_at: None,
            },
        );
        places::leave(unit);
        answers::give(unit.run_id, unit.n, unit.item, StepStatus::Failed.name(), None, None);
        send::tell(unit.run_id, run.owner, run.priority);
    }
}
