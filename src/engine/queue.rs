//! Queues: what workers claim tasks from, and how they wait for some.

use pg_workflow_core::trace::{TraceParent, span_id};

use crate::engine::admission::{self, Room, Taken};
use crate::engine::start::check_text;
use crate::engine::{authority, calls, report, task};
use crate::error::Error;
use crate::hub::{hints, pollers};
use crate::pg::clock::{steady, when};
use crate::pg::value::{random_uuid, timestamp_json};
use crate::pg::{Interval, Json, Oid, RunId, Timestamp, clock, fault, guard, latch, process, scope, txn};
use crate::store::pauses;
use crate::store::places::{self, Place};
use crate::store::queues::{self, Change};
use crate::store::tasks::{self, Status, Task};

/// What is to be changed of a queue: what is not given stays as it is.
pub(crate) struct Settings {
    pub(crate) max_running: Option<i32>,
    pub(crate) rate: Option<i32>,
    pub(crate) per: Option<Interval>,
    pub(crate) paused: Option<bool>,
    pub(crate) workers: Option<Vec<String>>,
    pub(crate) max_running_per_key: Option<i32>,
    pub(crate) max_backlog: Option<i32>,
    pub(crate) overflow: Option<String>,
    pub(crate) notify: Option<bool>,
}

/// `wf_queue`: makes or changes a queue of the current user's.
pub(crate) fn set(name: &str, settings: &Settings) -> Result<(), Error> {
    check_text("name", name, 1024)?;
    for (argument, limit) in [
        ("max_running", settings.max_running),
        ("rate", settings.rate),
        ("max_running_per_key", settings.max_running_per_key),
        ("max_backlog", settings.max_backlog),
    ] {
        if limit.is_some_and(|limit| limit < 0) {
            return Err(Error::WrongArgument {
                name: argument,
                expected: "at least 1, or 0 for no limit".to_owned(),
            });
        }
    }
    let per = settings.per.map(|per| calls::positive(per, "per")).transpose()?;
    let drops_oldest = match settings.overflow.as_deref() {
        None => None,
        Some("" | "reject") => Some(false),
        Some("drop_oldest") => Some(true),
        Some(_) => {
            return Err(Error::WrongArgument {
                name: "overflow",
                expected: "\"reject\" or \"drop_oldest\"".to_owned(),
            });
        }
    };
    let owner = scope::current_user();
    authority::check_use(owner)?;
    let change = Change {
        max_running: settings.max_running,
        rate: settings.rate,
        per,
        paused: settings.paused,
        workers: settings.workers.as_ref(),
        max_running_per_key: settings.max_running_per_key,
        max_backlog: settings.max_backlog,
        drops_oldest,
        notifies: settings.notify,
    };
    scope::as_engine(|| {
        let now = clock();
        let queue = queues::find(owner, name, now).id;
        // Who finds it locked looks again.
        hints::holding();
        queues::set(queue, &change, now);
        if let Some(priority) = places::next_priority(queue, true, i32::MIN) {
            admission::hint(queue, owner, priority);
        }
        // More may be claimed than before.
        tell_workers(name, queues::get(queue).is_some_and(|queue| queue.notifies));
    });
    Ok(())
}

/// Wakes the workers of a queue, when this transaction commits. As the engine.
pub(super) fn tell_workers(name: &str, notifies: bool) {
    hints::tasks(name);
    if notifies {
        queues::notify(name);
    }
}

/// Arguments of `wf_poll`.
pub(crate) struct Poll {
    pub(crate) queues: Vec<String>,
    pub(crate) worker: Option<String>,
    pub(crate) max: i32,
    pub(crate) lease: Interval,
}

/// Tasks that one call of `wf_poll` claims, at most.
const MAX: i32 = 10_000;

impl Poll {
    fn check(&self) -> Result<i64, Error> {
        for queue in &self.queues {
            check_text("queue", queue, 1024)?;
        }
        if let Some(worker) = &self.worker {
            check_text("worker", worker, 1024)?;
        }
        if !(1..=MAX).contains(&self.max) {
            return Err(Error::WrongArgument {
                name: "max",
                expected: format!("from 1 to {MAX}"),
            });
        }
        calls::positive(self.lease, "lease")
    }
}

/// `wf_poll`: claims tasks.
pub(crate) fn poll(poll: &Poll) -> Result<Json, Error> {
    let lease = poll.check()?;
    let caller = scope::current_user();
    Ok(scope::as_engine(|| claim(poll, lease, caller)).to_json())
}

/// `CALL wf_poll`: claims tasks, and waits for some if there are none: on its latch, with no snapshot and no lock. In a
/// non-atomic SPI connection.
pub(crate) fn wait(poll: &Poll, wait: Interval) -> Result<Json, Error> {
    /// Between two looks of a session that nobody can wake: without a place in shared memory.
    const UNREGISTERED_PAUSE: i64 = 200_000;
    let lease = poll.check()?;
    let caller = scope::current_user();
    let until = steady().saturating_add(wait.micros().max(0));
    let registered = pollers::register(&poll.queues);
    let claimed = guard::catch(|| {
        loop {
            pollers::take_woken();
            if !process::client_is_there() {
                // Nobody would work on what is claimed.
                Error::ClientGone.throw();
            }
            let claimed = scope::as_engine(|| claim(poll, lease, caller));
            let now = steady();
            if !claimed.tasks.is_empty() || now >= until {
                return claimed;
            }
            txn::commit_and_rest().unwrap_or_else(|error| guard::throw(error));
            if !pollers::take_woken() {
                let unregistered = (!registered).then_some(now + UNREGISTERED_PAUSE);
                let end = unregistered.map_or(until, |at| at.min(until));
                latch::wait_until(claimed.next.into_iter().chain([when(end)]).min());
            }
            txn::end_rest();
        }
    });
    pollers::unregister();
    Ok(claimed.unwrap_or_else(|error| guard::throw(error)).to_json())
}

/// What was claimed.
#[derive(Default)]
struct Claimed {
    tasks: Vec<Json>,
    /// When a rate allows the next, if that is what it lacks.
    next: Option<Timestamp>,
}

impl Claimed {
    fn to_json(&self) -> Json {
        let tasks: Vec<String> = self.tasks.iter().map(Json::to_text).collect();
        Json::parse(&format!("[{}]", tasks.join(",")))
    }
}

/// Claims up to `max` tasks, queue by queue. As the engine.
fn claim(poll: &Poll, lease: i64, caller: Oid) -> Claimed {
    let mut queues = queues::open(&poll.queues, caller);
    // Limited ones, and those with keys, are locked: in one order.
    queues.sort_by_key(|queue| queue.id);
    let locked: Vec<_> = queues
        .iter()
        .map(|queue| (queue.limited || queue.keyed).then(|| lock(queue.id)).flatten())
        .collect();
    let mut queues: Vec<_> = queues.into_iter().zip(locked).collect();
    queues.sort_by_key(|(queue, _)| poll.queues.iter().position(|name| *name == queue.name));
    let now = clock();
    let mut claimed = Claimed::default();
    for (queue, locked) in queues {
        let wanted = (poll.max as usize).saturating_sub(claimed.tasks.len()) as u32;
        let pauses = queue.pauses;
        let offer = |place| match is_paused(pauses, &place) {
            Some(pause) => park(&place, pause, caller),
            None => claim_place(&place, poll, lease, caller, &mut claimed.tasks),
        };
        let Some(mut locked) = locked else {
            admission::pick(queue.id, false, wanted, offer);
            continue;
        };
        let Room { count, next } = admission::room(queue.id, &mut locked, wanted, now);
        let by_keys = queue.keyed || locked.max_running_per_key.is_some();
        let taken = if by_keys {
            admission::pick_by_keys(queue.id, false, &mut locked, count, offer)
        } else {
            admission::pick(queue.id, false, count, offer)
        };
        admission::spend(&mut locked, taken);
        if taken > 0 && (by_keys || locked.rate.is_some()) {
            queues::served(queue.id, &locked);
        }
        claimed.next = claimed.next.into_iter().chain(next).min();
    }
    claimed
}

fn lock(queue: i32) -> Option<queues::Locked> {
    // An executor that finds it locked looks again.
    hints::holding();
    queues::lock(queue)
}

/// Claims the task of a place, if it still wants to be done.
fn claim_place(place: &Place, poll: &Poll, lease: i64, caller: Oid, claimed: &mut Vec<Json>) -> Taken {
    // Locked: its run is about to withdraw it.
    let Some(mut task) = tasks::try_lock(place.run_id, place.n, caller) else {
        return Taken::No;
    };
    let current = task.status == Status::Waiting && task.seq == place.seq;
    if current && task.wanted {
        start(&mut task, place, poll, lease, caller);
        claimed.push(describe(&task));
        return Taken::Yes;
    }
    if current {
        task::end(&mut task, Status::Cancelled, clock());
    } else {
        places::sweep(place);
    }
    Taken::Swept
}

/// The pause that keeps the task at a place from being claimed, if there are any pauses.
fn is_paused(pauses: bool, place: &Place) -> Option<i64> {
    pauses.then(|| pauses::of_tasks(place.run_id)).flatten()
}

/// Takes a task that waits out of its queue until a pause is lifted: then its hint is in `ready`, and [`task::act_on_time`] puts it
/// back. As the engine.
fn park(place: &Place, pause: i64, caller: Oid) -> Taken {
    let Some(mut task) = tasks::try_lock(place.run_id, place.n, caller) else {
        return Taken::No;
    };
    if task.status == Status::Waiting && task.seq == place.seq {
        // It is being lifted: pollers are woken when it is.
        if !pauses::hold(pause) {
            return Taken::No;
        }
        task.status = Status::Retrying;
        task.queued_at = tasks::PARKED;
        let due = task::next(&task).map(|(at, _)| at).filter(|at| *at < tasks::PARKED);
        task::set_timer(&mut task, due);
        tasks::update(&task);
        pauses::park(
            pause,
            task.run_id,
            Some(task::unit(&task)),
            task.owner,
            i32::from(task.priority),
        );
    }
    places::sweep(place);
    Taken::Swept
}

/// A worker begins an attempt.
fn start(task: &mut Task, place: &Place, poll: &Poll, lease: i64, caller: Oid) {
    let now = clock();
    let lease = task::limits(&task.request).lease(lease);
    places::run(place);
    task.status = Status::Running;
    task.attempt += 1;
    task.started_at = Some(now);
    task.lease = RunId::parse(&random_uuid());
    task.lease_time = Some(lease);
    task.lease_until = Some(now.saturating_add(lease));
    task.worker.clone_from(&poll.worker);
    task.worker_role = Some(caller);
    task::settle(task);
    fault("task-claimed");
}

/// A claimed task as its worker gets it.
fn describe(task: &Task) -> Json {
    let text = |text: &str| Some(serde_json::Value::from(text).to_string());
    let time = |at: Option<Timestamp>| at.map(|at| timestamp_json(at).to_text());
    let started = task.started_at.unwrap_or_default();
    let deadline = task::limits(&task.request).deadline(task.created_at, started);
    let trace = task.trace.map(|trace| {
        let parent_id = span_id(&task.run_id.0, task.n, 0);
        TraceParent { parent_id, ..trace }.to_string()
    });
    Json::object(&[
        ("task", text(&report::token(task))),
        ("queue_name", text(&task.queue)),
        ("name", text(&task.name)),
        ("attempt", Some(task.attempt.to_string())),
        ("input", task.request.field("input").map(|input| input.to_text())),
        ("idempotency_key", text(&format!("{}/{}", task.run_id, task.n))),
        ("deadline", time(deadline)),
        ("lease_until", time(task.lease_until)),
        ("heartbeat", task.details.as_ref().map(Json::to_text)),
        ("id", text(&task.id)),
        ("workflow", text(&task.workflow)),
        ("trace", trace.as_deref().and_then(text)),
    ])
}
