//! Tasks: calls of a workflow that workers outside of the server answer.
//!
//! A task is written under its own row lock, by the worker that has leased it or by an executor when a time of it has come
//! ([`act_on_time`]); the run's row is free meanwhile. It answers the run's call when it ends ([`crate::store::answers`]).
//! Nobody waits for a worker's transaction: who finds a task locked leaves it alone and looks again later.

use std::collections::HashMap;

use pg_workflow_core::lease::{Due, Limits, Stand};
use pg_workflow_core::policy::{RetryPolicy, Verdict};

use crate::engine::calls::{self, deliver, with_history};
use crate::engine::history::{History, Want};
use crate::engine::queue::tell_workers;
use crate::engine::start::PRIORITIES;
use crate::engine::step::Attempt;
use crate::engine::turn::{End, Turn};
use crate::engine::{admission, backlog, rehearsal, seats, send, step};

use crate::error::Error;
use crate::hub::hints;
use crate::pg::errdata::unpack;
use crate::pg::{Interval, Json, Oid, PgError, RunId, Timestamp, clock, scope};
use crate::store::branches::Branch;
use crate::store::places::{self, Place};
use crate::store::steps::{self, Kind, StepStatus};
use crate::store::tasks::{self, NewTask, Status, Task};
use crate::store::{answers, dedup, queues, timers};

/// Arguments of `wf_task`, without its name.
pub(crate) struct TaskCall {
    pub(crate) queue: String,
    pub(crate) input: Json,
    pub(crate) priority: Option<i32>,
    pub(crate) retry: Option<Json>,
    pub(crate) timeout: Option<Interval>,
    pub(crate) start_timeout: Option<Interval>,
    pub(crate) heartbeat: Option<Interval>,
    pub(crate) total_timeout: Option<Interval>,
    pub(crate) key: Option<String>,
    pub(crate) dedup: Option<String>,
}

impl TaskCall {
    pub(crate) fn to_request(&self) -> Result<Json, Error> {
        seats::check(&self.queue, self.key.as_deref(), self.dedup.as_deref())?;
        if self.priority.is_some_and(|priority| !PRIORITIES.contains(&priority)) {
            let expected = format!("from {} to {}", PRIORITIES.start(), PRIORITIES.end());
            return Err(Error::WrongArgument {
                name: "priority",
                expected,
            });
        }
        step::check_size(Some(&self.input), || "input of the task".to_owned())?;
        let retry = self.retry.as_ref();
        let retry = retry.map(|json| calls::read_policy(json).map(|_| json.to_text()));
        let time = |time: Option<Interval>, name| {
            let micros = time.map(|time| calls::positive(time, name)).transpose()?;
            Ok::<_, Error>(micros.map(|micros| micros.to_string()))
        };
        let text = |text: &String| serde_json::Value::from(&**text).to_string();
        Ok(Json::object(&[
            ("queue", Some(text(&self.queue))),
            ("key", self.key.as_ref().map(text)),
            ("dedup", self.dedup.as_ref().map(text)),
            ("input", Some(self.input.to_text())),
            ("priority", self.priority.map(|priority| priority.to_string())),
            ("retry", retry.transpose()?),
            ("timeout", time(self.timeout, "timeout")?),
            ("start_timeout", time(self.start_timeout, "start_timeout")?),
            ("heartbeat", time(self.heartbeat, "heartbeat")?),
            ("total_timeout", time(self.total_timeout, "total_timeout")?),
        ]))
    }
}

/// Reads back the times of [`TaskCall::to_request`].
pub(super) fn limits(request: &Json) -> Limits {
    let time = |key| request.field(key).and_then(|json| json.to_value().as_i64());
    Limits {
        start: time("start_timeout"),
        attempt: time("timeout"),
        heartbeat: time("heartbeat"),
        total: time("total_timeout"),
    }
}

/// `wf_task`: puts a task into a queue and waits for its result.
pub(crate) fn call(name: &str, read: impl FnOnce() -> Result<TaskCall, Error>) -> Result<Option<Json>, Error> {
    let answer = with_history("wf_task", |history| {
        history.answer(Kind::Task, name, |_| {
            Ok(Want::Task {
                name: name.to_owned(),
                call: read()?.to_request()?,
            })
        })
    })?;
    deliver(answer)
}

impl Turn {
    /// Begins a task that the function waits for.
    pub(super) fn begin_task(&mut self, history: &mut History, name: &str, call: Json, now: Timestamp) -> Option<End> {
        let mut row = history.new_row(Kind::Task, name);
        row.status = StepStatus::Waiting;
        row.request = Some(call);
        history.append(row, now, now);
        self.wrote = true;
        let position = history.len() - 1;
        let launched = self.launch_task(history, position, now);
        (!self.refused(history, position, launched, now)).then(|| self.wait(history))
    }

    /// Puts the task that an entry of the history asks for into its queue.
    ///
    /// # Errors
    /// WF009 if the queue's backlog is full.
    pub(super) fn launch_task(&self, history: &History, position: usize, now: Timestamp) -> Result<(), Error> {
        let row = history.row(position);
        let request = row.request.clone().unwrap_or_else(Json::null);
        let field = |key| request.field(key).map(|json| json.to_value());
        let text = |key| field(key).and_then(|text| text.as_str().map(str::to_owned));
        let name = text("queue").unwrap_or_default();
        let key = text("key").unwrap_or_default();
        let priority = field("priority").and_then(|priority| priority.as_i64());
        let priority = priority.map_or(i32::from(self.run.priority), |priority| priority as i32);
        let unit = tasks::unit(self.run.run_id, row.n);
        let due = limits(&request).next(now, Stand::Queued(now)).map(|(at, _)| at);
        let owner = self.run.owner;
        let queue = queues::find(owner, &name, now);
        let dedup = text("dedup");
        let dedup = dedup.as_deref().map(|key| dedup::Key {
            queue_id: queue.id,
            key,
        });
        if let Some(key) = dedup
            && !dedup::take_or_join(key, unit.run_id, unit.n, priority)
        {
            return Ok(());
        }
        if let Err(full) = backlog::make_room(&queue, &name, owner) {
            dedup.map(|key| dedup::end(key, unit.run_id, unit.n));
            return Err(full);
        }
        let task = NewTask {
            unit,
            queue_id: queue.id,
            owner,
            priority,
            key: &key,
        };
        tasks::insert(&task, now, due);
        if let Some(due) = due {
            timers::insert_branch(due, unit, self.run.owner, priority);
            hints::timer(due);
        }
        tell_workers(&name, queue.notifies);
        if rehearsal::is_on()
            && let Some(mut task) = tasks::try_lock(self.run.run_id, row.n, self.run.owner)
        {
            rehearse(&mut task, now);
        }
        Ok(())
    }
}

/// Runs whose calls were answered: each is told once.
#[derive(Default)]
pub(super) struct Told(HashMap<RunId, (Oid, i16)>);

impl Told {
    pub(super) fn answer(&mut self, task: &Task, status: StepStatus, result: Option<&Json>, error: Option<&Json>) {
        answers::give(task.run_id, task.n, 0, status.name(), result, error);
        self.0.insert(task.run_id, (task.owner, task.priority));
        let Some(key) = dedup_key(task) else { return };
        let queue_id = task.queue_id;
        for joined in dedup::end(dedup::Key { queue_id, key: &key }, task.run_id, task.n) {
            answers::give(joined.run_id, joined.n, 0, status.name(), result, error);
            self.0.insert(joined.run_id, (task.owner, joined.priority));
        }
    }

    pub(super) fn tell(self) {
        for (run, (owner, priority)) in self.0 {
            send::tell(run, owner, priority);
        }
    }
}

// --- how a task goes on ----------------------------------------------------------------------------------------------

pub(super) fn unit(task: &Task) -> Branch {
    tasks::unit(task.run_id, task.n)
}

fn dedup_key(task: &Task) -> Option<String> {
    let key = task.request.field("dedup")?.to_value();
    key.as_str().map(str::to_owned)
}

/// What is to be done about an open task next, and when.
pub(super) fn next(task: &Task) -> Option<(Timestamp, Due)> {
    let stand = match task.status {
        Status::Retrying => Stand::Retrying(task.queued_at),
        Status::Running => Stand::Running {
            started_at: task.started_at?,
            lease_until: task.lease_until?,
        },
        _ => Stand::Queued(task.queued_at),
    };
    limits(&task.request).next(task.created_at, stand)
}

pub(super) fn set_timer(task: &mut Task, due: Option<Timestamp>) {
    if task.timer_at == due {
        return;
    }
    if let Some(old) = task.timer_at {
        tasks::delete_timer(old, unit(task));
    }
    task.timer_at = due;
    if let Some(due) = due {
        timers::insert_branch(due, unit(task), task.owner, i32::from(task.priority));
        hints::timer(due);
    }
}

/// Writes a task that has taken a new stand, with a timer for what comes next.
pub(super) fn settle(task: &mut Task) {
    let due = next(task).map(|(at, _)| at);
    set_timer(task, due);
    tasks::update(task);
}

/// Takes a task out of its queue.
fn leave_queue(task: &Task) {
    match task.status {
        Status::Waiting => {
            // Locked, the place is left to the claim that has it, or to the next that comes to it.
            places::dequeue(task, false);
        }
        Status::Running => {
            places::remove(task);
            if task.counted {
                tell_workers(&task.queue, task.notifies);
            }
            if task.serves {
                admission::hint(task.queue_id, task.owner, i32::from(task.priority));
            }
        }
        _ => {}
    }
}

/// Takes a task that runs out of its queue without waiting for anybody; false if its place is locked. A claim locks it that
/// has found it waiting and has come a moment too late.
fn stops(task: &Task) -> bool {
    task.status != Status::Running || places::dequeue(task, true)
}

/// Ends a task.
pub(super) fn end(task: &mut Task, status: Status, now: Timestamp) {
    leave_queue(task);
    set_timer(task, None);
    task.status = status;
    task.finished_at = Some(now);
    task.lease_until = None;
    tasks::update(task);
    if status == Status::Cancelled {
        pass_on(task, now);
    }
}

/// The task has come to nothing: the call that was first to join it gets one of its own.
fn pass_on(task: &Task, now: Timestamp) {
    let Some(key) = dedup_key(task) else { return };
    let queue_id = task.queue_id;
    let Some(next) = dedup::succeed(dedup::Key { queue_id, key: &key }, task.run_id, task.n) else {
        return;
    };
    let own = NewTask {
        unit: tasks::unit(next.run_id, next.n),
        queue_id,
        owner: task.owner,
        priority: i32::from(next.priority),
        key: &task.key,
    };
    tasks::insert(&own, now, None);
    if let Some(mut own) = tasks::try_lock(next.run_id, next.n, task.owner) {
        settle(&mut own);
    }
    tell_workers(&task.queue, task.notifies);
}

/// A place that waits is dropped for a later one: its task fails, unless another has it. As the engine.
pub(super) fn drop_waiting(place: &Place, owner: Oid, error: &PgError, now: Timestamp) {
    let task = tasks::try_lock(place.run_id, place.n, owner);
    if let Some(mut task) = task.filter(|task| task.status == Status::Waiting && task.seq == place.seq) {
        fail_for_good(&mut task, error, now);
    }
}

/// An attempt has ended without a result: once more, or never again. As the engine.
pub(super) fn attempt_failed(task: &mut Task, error: &PgError, retryable: bool, delay: Option<i64>, now: Timestamp) {
    let policy = task.retry.as_ref().and_then(|json| calls::read_policy(json).ok());
    let policy = policy.unwrap_or(RetryPolicy::EVERYTHING);
    let attempt = task.attempt.unsigned_abs();
    match policy.decide(attempt, &unpack(error.sqlstate), step::chance()) {
        Verdict::Retry(wait) if retryable => again(task, error, delay.unwrap_or(wait), now),
        _ => fail_for_good(task, error, now),
    }
}

/// A worker gives a task back that it has not worked on to the end: the attempt does not count. As the engine.
pub(super) fn hand_back(task: &mut Task, error: &PgError, delay: i64, now: Timestamp) {
    task.attempt -= 1;
    again(task, error, delay, now);
}

/// Has a task done once more.
fn again(task: &mut Task, error: &PgError, delay: i64, now: Timestamp) {
    leave_queue(task);
    task.error = Some(Json::from_value(&error.to_json()));
    task.lease_until = None;
    task.status = Status::Retrying;
    task.queued_at = now.saturating_add(delay);
    if task.queued_at <= now {
        queue(task, now);
    } else {
        settle(task);
    }
}

fn fail_for_good(task: &mut Task, error: &PgError, now: Timestamp) {
    let error = Json::from_value(&error.to_json());
    task.error = Some(error.clone());
    end(task, Status::Failed, now);
    let mut told = Told::default();
    told.answer(task, StepStatus::Failed, None, Some(&error));
    told.tell();
}

fn queue(task: &mut Task, now: Timestamp) {
    task.status = Status::Waiting;
    task.queued_at = now;
    places::enqueue(task, now);
    settle(task);
    tell_workers(&task.queue, task.notifies);
    rehearse(task, now);
}

/// In a rehearsal, where no worker comes: makes of a task that waits what the script says, if it says anything.
fn rehearse(task: &mut Task, now: Timestamp) {
    let made = rehearsal::answer(&task.name, || {
        let row = steps::load(task.run_id).into_iter().find(|row| row.n == task.n);
        (row.map_or(1, |row| row.occurrence), task.attempt + 1)
    });
    let Some(made) = made else { return };
    task.attempt += 1;
    match made {
        Attempt::Failed(error) => attempt_failed(task, &error, true, None, now),
        Attempt::Done(done) => {
            end(task, Status::Completed, now);
            let mut told = Told::default();
            told.answer(task, StepStatus::Completed, done.result.as_ref(), None);
            told.tell();
        }
        _ => {}
    }
}

/// Pause before a task is looked at again that its worker has locked, in microseconds: nobody tells when the worker's
/// transaction is rolled back.
const LOCKED_PAUSE: i64 = 1_000_000;

fn look_again(unit: Branch, now: Timestamp) {
    if let Some((owner, priority)) = tasks::brief(unit) {
        let due = now + LOCKED_PAUSE;
        timers::insert_branch(due, unit, owner, i32::from(priority));
        hints::timer(due);
    }
}

/// A timer of a task was due. As the engine.
pub(super) fn act_on_time(unit: Branch) {
    let now = clock();
    let Some(mut task) = tasks::try_lock(unit.run_id, unit.n, scope::current_user()) else {
        return look_again(unit, now);
    };
    if !task.status.is_open() {
        return;
    }
    // The row in timers is gone: it has led here.
    task.timer_at = None;
    let due = next(&task).filter(|(at, _)| *at <= now).map(|(_, due)| due);
    if (!task.wanted || due.is_some()) && !stops(&task) {
        return look_again(unit, now);
    }
    if !task.wanted {
        return end(&mut task, Status::Cancelled, now);
    }
    let name = task.name.clone();
    let limits = limits(&task.request);
    let timeout = |what, micros: Option<i64>| {
        Error::TaskTimeout {
            name: name.clone(),
            what,
            micros: micros.unwrap_or_default(),
        }
        .into()
    };
    match due {
        None if task.is_parked() => queue(&mut task, now),
        None => settle(&mut task),
        Some(Due::Queue) => queue(&mut task, now),
        Some(Due::NotStarted) => fail_for_good(&mut task, &timeout("was not started", limits.start), now),
        Some(Due::TotalOver) => fail_for_good(&mut task, &timeout("did not end", limits.total), now),
        Some(Due::AttemptOver) => {
            attempt_failed(&mut task, &timeout("did not end", limits.attempt), true, None, now);
        }
        Some(Due::LeaseOver) => {
            let error = Error::LeaseExpired {
                name: task.name.clone(),
                worker: task.worker.clone(),
            };
            attempt_failed(&mut task, &error.into(), true, None, now);
        }
    }
}

/// Queues the task of a call again that was withdrawn. One that its worker has kept goes on. As the engine.
pub(super) fn reopen(run: RunId, n: i32, now: Timestamp) {
    if tasks::reopen(run, n, now)
        && let Some(mut task) = tasks::lock(run, n, scope::current_user())
    {
        queue(&mut task, now);
    }
}

/// Ends the open tasks of a run, or of one call of it, which is not waited for any more. One that is locked is in the hands
/// of its worker, who is told when it next asks. As the engine.
pub(super) fn withdraw(run: RunId, n: Option<i32>, now: Timestamp) {
    dedup::leave(run, n);
    for n in tasks::open(run, n) {
        // One that cannot be stopped now is found by the timer of its lease.
        if let Some(mut task) = tasks::try_lock(run, n, scope::current_user()).filter(stops) {
            end(&mut task, Status::Cancelled, now);
        }
    }
}
