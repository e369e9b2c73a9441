//! Queues: what workers claim tasks from, and how they wait for some.

use pg_workflow_core::limit::Bucket;

use crate::engine::start::check_text;
use crate::engine::{calls, report, task};
use crate::error::Error;
use crate::hub::{hints, pollers};
use crate::pg::value::{random_uuid, timestamp_json};
use crate::pg::{Interval, Json, Oid, RunId, Timestamp, clock, guard, latch, process, scope, txn};
use crate::store::tasks::{self, Change, Place, Status, Task};

/// What is to be changed of a queue: what is not given stays as it is.
pub(crate) struct Settings {
    pub(crate) max_running: Option<i32>,
    pub(crate) rate: Option<i32>,
    pub(crate) per: Option<Interval>,
    pub(crate) paused: Option<bool>,
    pub(crate) workers: Option<Vec<String>>,
}

/// `wf_queue`: makes or changes a queue of the current user's.
pub(crate) fn set(name: &str, settings: &Settings) -> Result<(), Error> {
    check_text("name", name, 1024)?;
    for (argument, limit) in [("max_running", settings.max_running), ("rate", settings.rate)] {
        if limit.is_some_and(|limit| limit < 0) {
            return Err(Error::WrongArgument {
                name: argument,
                expected: "at least 1, or 0 for no limit".to_owned(),
            });
        }
    }
    let per = settings.per.map(|per| calls::positive(per, "per")).transpose()?;
    let owner = scope::current_user();
    let change = Change {
        max_running: settings.max_running,
        rate: settings.rate,
        per,
        paused: settings.paused,
        workers: settings.workers.as_ref(),
    };
    scope::as_engine(|| {
        let now = clock();
        tasks::set_queue(tasks::queue(owner, name, now), &change, now);
    });
    // More may be claimed than before.
    hints::tasks(name);
    Ok(())
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
    let until = clock().saturating_add(wait.micros().max(0));
    let registered = pollers::register(&poll.queues);
    let claimed = guard::catch(|| {
        loop {
            pollers::take_woken();
            if !process::client_is_there() {
                // Nobody would work on what is claimed.
                Error::ClientGone.throw();
            }
            let claimed = scope::as_engine(|| claim(poll, lease, caller));
            let now = clock();
            if !claimed.tasks.is_empty() || now >= until {
                return claimed;
            }
            txn::commit_and_rest().unwrap_or_else(|error| guard::throw(error));
            if !pollers::take_woken() {
                let unregistered = (!registered).then_some(now + UNREGISTERED_PAUSE);
                let wake = [Some(until), claimed.next, unregistered].into_iter().flatten().min();
                latch::wait(wake.map(|at| at - clock()));
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
    let mut queues = tasks::open_queues(&poll.queues, caller);
    // Limited ones are locked: in one order.
    queues.sort_by_key(|queue| queue.id);
    let limits: Vec<_> = queues
        .iter()
        .map(|queue| queue.limited.then(|| tasks::lock_queue(queue.id)).flatten())
        .collect();
    let mut queues: Vec<_> = queues.into_iter().zip(limits).collect();
    queues.sort_by_key(|(queue, _)| poll.queues.iter().position(|name| *name == queue.name));
    let now = clock();
    let mut claimed = Claimed::default();
    for (queue, limits) in queues {
        let mut room = (poll.max as usize).saturating_sub(claimed.tasks.len()) as u32;
        let mut bucket = None;
        if let Some(limits) = limits {
            if let Some(max) = limits.max_running {
                room = room.min(max.saturating_sub(tasks::running(queue.id, max)).max(0) as u32);
            }
            if let (Some(rate), Some(per)) = (limits.rate, limits.per) {
                let (tokens, filled_at) = (limits.tokens.unwrap_or_default(), limits.filled_at);
                let filled = Bucket {
                    rate,
                    per,
                    tokens,
                    filled_at,
                }
                .filled(now);
                if room > 0 && filled.available() == 0 {
                    claimed.next = Some(claimed.next.map_or(filled.next(), |at| at.min(filled.next())));
                }
                room = room.min(filled.available());
                bucket = Some(filled);
            }
        }
        let before = claimed.tasks.len();
        claim_from(queue.id, room, poll, lease, caller, &mut claimed.tasks);
        let taken = claimed.tasks.len() - before;
        if let Some(bucket) = bucket.filter(|_| taken > 0) {
            tasks::spend(queue.id, bucket.tokens - taken as f64, bucket.filled_at);
        }
    }
    claimed
}

/// Claims up to `room` tasks of one queue.
fn claim_from(queue: i32, room: u32, poll: &Poll, lease: i64, caller: Oid, claimed: &mut Vec<Json>) {
    let mut room = room;
    let mut swept = true;
    // Places of tasks that have ended meanwhile are taken out, and others looked for.
    while room > 0 && std::mem::take(&mut swept) {
        for place in tasks::next(queue, room) {
            // Locked: its run is about to withdraw it.
            let Some(mut task) = tasks::try_lock(place.run_id, place.n, caller) else {
                continue;
            };
            let current = task.status == Status::Waiting && task.seq == place.seq;
            if current && task.wanted {
                start(&mut task, place, poll, lease, caller);
                claimed.push(describe(&task));
                room -= 1;
                continue;
            }
            swept = true;
            if current {
                task::end(&mut task, Status::Cancelled, clock());
            } else {
                tasks::dequeue(queue, false, place.priority, place.seq);
            }
        }
    }
}

/// A worker begins an attempt.
fn start(task: &mut Task, place: Place, poll: &Poll, lease: i64, caller: Oid) {
    let now = clock();
    let lease = task::limits(&task.request).lease(lease);
    tasks::run(place);
    task.status = Status::Running;
    task.attempt += 1;
    task.started_at = Some(now);
    task.lease = RunId::parse(&random_uuid());
    task.lease_time = Some(lease);
    task.lease_until = Some(now.saturating_add(lease));
    task.worker.clone_from(&poll.worker);
    task.worker_role = Some(caller);
    task::settle(task);
}

/// A claimed task as its worker gets it.
fn describe(task: &Task) -> Json {
    let text = |text: &str| Some(serde_json::Value::from(text).to_string());
    let time = |at: Option<Timestamp>| at.map(|at| timestamp_json(at).to_text());
    let started = task.started_at.unwrap_or_default();
    let deadline = task::limits(&task.request).deadline(task.created_at, started);
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
    ])
}
