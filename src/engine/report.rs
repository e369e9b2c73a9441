//! What workers say of tasks that they have claimed: a sign of life, a result, a failure.
//!
//! A token names an attempt. It counts as long as it is of the task's last attempt, and that one runs; so a result is taken
//! once, whoever brings it and however often.

use crate::engine::calls;
use crate::engine::step;
use crate::engine::task::{Told, attempt_failed, end, hand_back, limits, next, set_timer};
use crate::error::Error;
use crate::pg::errdata::pack;
use crate::pg::{Interval, Json, Oid, PgError, RunId, clock, fault, scope};
use crate::store::steps::StepStatus;
use crate::store::tasks::{self, Status, Task};

/// What names an attempt to its worker, and proves that it has it: call and lease.
pub(super) fn token(task: &Task) -> String {
    let lease = task.lease.map(|lease| lease.to_string()).unwrap_or_default();
    format!("{}/{}/{lease}", task.run_id, task.n)
}

fn read_token(token: &str) -> Option<(RunId, i32, RunId)> {
    let mut parts = token.split('/');
    let parsed = (
        RunId::parse(parts.next()?)?,
        parts.next()?.parse().ok()?,
        RunId::parse(parts.next()?)?,
    );
    parts.next().is_none().then_some(parsed)
}

/// Locks the task of a token; true if the token is of its last attempt. As the engine.
fn find(token: &str, caller: Oid) -> Result<(Task, bool), Error> {
    let (run, n, lease) = read_token(token).ok_or_else(|| Error::WrongArgument {
        name: "task",
        expected: "what wf_poll has returned as \"task\"".to_owned(),
    })?;
    let task = tasks::lock(run, n, caller).ok_or(Error::UnknownTask)?;
    if !task.allowed {
        return Err(Error::NotYourQueue(task.queue));
    }
    let mine = task.lease == Some(lease);
    Ok((task, mine))
}

fn lost(task: &Task) -> Error {
    let detail = match task.status {
        _ if task.status.is_open() && !task.wanted => "Its call was cancelled, or its instance has ended.".to_owned(),
        Status::Cancelled => "Its call was cancelled, or its instance has ended.".to_owned(),
        Status::Completed => format!("It was completed in attempt {}.", task.attempt),
        Status::Failed => format!("It has failed in attempt {}.", task.attempt),
        Status::Running => format!("It is in attempt {}, which has another token.", task.attempt),
        Status::Waiting | Status::Retrying => "The attempt has ended without it.".to_owned(),
    };
    Error::TaskLost {
        name: task.name.clone(),
        detail,
    }
}

/// Completes a task; false if this attempt has done so before.
pub(crate) fn complete(token: &str, result: Option<&Json>) -> Result<bool, Error> {
    let caller = scope::current_user();
    scope::as_engine(|| {
        let mut told = Told::default();
        let new = complete_one(token, result, caller, &mut told)?;
        told.tell();
        Ok(new)
    })
}

fn complete_one(token: &str, result: Option<&Json>, caller: Oid, told: &mut Told) -> Result<bool, Error> {
    let (mut task, mine) = find(token, caller)?;
    match task.status {
        Status::Running if mine && task.wanted => {}
        Status::Completed if mine => return Ok(false),
        _ => return Err(lost(&task)),
    }
    step::check_size(result, || format!("result of task \"{}\"", task.name))?;
    end(&mut task, Status::Completed, clock());
    told.answer(&task, StepStatus::Completed, result, None);
    fault("task-completed");
    Ok(true)
}

/// Completes tasks, given as objects with `task` and `result`; returns what has become of each: `completed`, `repeated` (by
/// the same attempt), `lost`.
pub(crate) fn complete_all(tasks: &Json) -> Result<Json, Error> {
    let wrong = || Error::WrongArgument {
        name: "tasks",
        expected: "a JSON array of objects with \"task\" and \"result\"".to_owned(),
    };
    if !tasks.is_array() {
        return Err(wrong());
    }
    let mut items = Vec::new();
    for item in tasks.elements() {
        let token = item.field("task").map(|token| token.to_value());
        let token = token.and_then(|token| token.as_str().map(str::to_owned));
        items.push((token.ok_or_else(wrong)?, item.field("result")));
    }
    // In one order, so that two of them do not wait for each other.
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|at| &items[*at].0);
    let caller = scope::current_user();
    let mut outcomes = vec![""; items.len()];
    scope::as_engine(|| {
        let mut told = Told::default();
        for at in order {
            let (token, result) = &items[at];
            outcomes[at] = match complete_one(token, result.as_ref(), caller, &mut told) {
                Ok(true) => "completed",
                Ok(false) => "repeated",
                Err(Error::TaskLost { .. }) => "lost",
                Err(error) => return Err(error),
            };
        }
        told.tell();
        Ok(())
    })?;
    let outcomes = items.iter().zip(outcomes);
    let outcomes = outcomes.map(|((task, _), outcome)| serde_json::json!({ "task": task, "outcome": outcome }));
    Ok(Json::from_value(&outcomes.collect()))
}

/// What a worker says of an attempt that has failed.
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) retryable: bool,
    pub(crate) delay: Option<Interval>,
    pub(crate) sqlstate: String,
    pub(crate) detail: Option<String>,
    /// As an attempt; else the task is handed back.
    pub(crate) counts: bool,
}

impl Failure {
    fn to_error(&self) -> Result<PgError, Error> {
        let code: Option<[u8; 5]> = self.sqlstate.as_bytes().try_into().ok();
        // What means "no error" cannot be raised, and what interrupts or is ours would be taken for something else.
        let is_free = |code: &[u8; 5]| {
            let plain = code.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
            let reserved = [b"00", b"01", b"02", b"57", b"WF"]
                .iter()
                .any(|class| code.starts_with(*class));
            plain && (!reserved || code == b"WF008")
        };
        let code = code.filter(is_free).ok_or_else(|| Error::WrongArgument {
            name: "sqlstate",
            expected: "five digits or capitals, not of the classes 00, 01, 02, 57 and WF".to_owned(),
        })?;
        Ok(PgError {
            detail: self.detail.clone(),
            ..PgError::new(pack(code), self.message.clone())
        })
    }
}

/// An attempt has failed; false if it has said so before.
pub(crate) fn fail(token: &str, failure: &Failure) -> Result<bool, Error> {
    let error = failure.to_error()?;
    if failure.delay.is_some_and(|delay| delay.micros() < 0) {
        return Err(Error::WrongArgument {
            name: "delay",
            expected: "an interval that is not negative".to_owned(),
        });
    }
    step::check_size(Some(&Json::from_value(&error.to_json())), || {
        "error of the task".to_owned()
    })?;
    let caller = scope::current_user();
    scope::as_engine(|| {
        let (mut task, mine) = find(token, caller)?;
        match task.status {
            Status::Running if mine && task.wanted => {}
            Status::Failed | Status::Retrying | Status::Waiting if mine => return Ok(false),
            _ => return Err(lost(&task)),
        }
        let delay = failure.delay.map(Interval::micros);
        if failure.counts {
            attempt_failed(&mut task, &error, failure.retryable, delay, clock());
        } else {
            hand_back(&mut task, &error, delay.unwrap_or(0), clock());
        }
        Ok(true)
    })
}

/// A sign of life; false if the work is not wanted any more.
pub(crate) fn heartbeat(token: &str, details: Option<Json>, lease: Option<Interval>) -> Result<bool, Error> {
    let lease = lease.map(|lease| calls::positive(lease, "lease")).transpose()?;
    step::check_size(details.as_ref(), || "details of the heartbeat".to_owned())?;
    let caller = scope::current_user();
    scope::as_engine(|| {
        let (mut task, mine) = find(token, caller)?;
        match task.status {
            Status::Running if mine && task.wanted => {}
            Status::Running | Status::Cancelled if mine => return Ok(false),
            _ => return Err(lost(&task)),
        }
        if let Some(lease) = lease {
            task.lease_time = Some(limits(&task.request).lease(lease));
        }
        task.lease_until = task.lease_time.map(|time| clock().saturating_add(time));
        task.details = details.or(task.details.take());
        // A timer that comes too early looks and is set again: cheaper than to move it with each sign of life.
        if let Some((at, _)) = next(&task)
            && task.timer_at.is_none_or(|timer| at < timer)
        {
            set_timer(&mut task, Some(at));
        }
        tasks::update(&task);
        Ok(true)
    })
}
