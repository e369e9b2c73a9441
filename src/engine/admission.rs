//! Whose turn it is in a queue: limits and keys.
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

use crate::engine::send;
use crate::hub::{hints, slots};
use crate::pg::{Oid, Timestamp, clock, fault};
use crate::store::branches::Branch;
use crate::store::places::{self, Place, Units};
use crate::store::queues::{self, Locked};
use crate::store::{ready, timers};

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
pub(super) fn hint_now(queue: i32, owner: Oid, priority: i32) {
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
        insert_hint(queue, owner, priority);
    }
}

/// Admits what may begin now of the steps and runs that wait in a queue; false if another has it locked, who then wakes this
/// role's executors at the end of its transaction. As the engine.
pub(super) fn serve(queue: i32, owner: Oid) -> bool {
    try_serve(queue, owner) || {
        // Announced before the second look: it may have been let go of in between.
        slots::set_contended();
        try_serve(queue, owner)
    }
}

fn try_serve(id: i32, owner: Oid) -> bool {
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
        if let Some(due) = due {
            // What is set already is set again: it may have led here, before the clock was set back, and be gone.
            let due = queue.serve_at.filter(|at| *at > now && *at <= due).unwrap_or(due);
            timers::insert_branch(due, queues::unit(id), owner, priority);
            hints::timer(due);
            queue.serve_at = Some(due);
        }
    }
    queues::served(id, &queue);
    fault("queue-served");
    true
}

fn admit(place: &Place, owner: Oid) {
    places::run(place);
    make_ready(place.unit().into(), owner, i32::from(place.priority));
}

pub(super) fn make_ready(units: Units, owner: Oid, priority: i32) {
    let Units { run_id, n, first, last } = units;
    if n == 0 {
        ready::insert(owner, priority, run_id);
    } else {
        ready::insert_branches(owner, priority, run_id, n, first, last);
    }
    hints::ready(owner);
}
