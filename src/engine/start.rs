//! Starting a workflow.

use crate::engine::seats::{self, Seat};
use crate::engine::{authority, backlog, calls, define, metrics, step, trace};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::{Interval, Json, Oid, RunId, Timestamp, clock, fault, scope};
use crate::store::runs::{self, Found, Locked, NewRun, Parent};
use crate::store::{dedup, operations, places, queues, ready, timers};

/// Arguments of `wf_start`.
pub(crate) struct Start {
    pub(crate) workflow: String,
    pub(crate) input: Json,
    pub(crate) id: Option<String>,
    pub(crate) start_at: Option<Timestamp>,
    pub(crate) delay: Option<Interval>,
    pub(crate) priority: Option<i32>,
    pub(crate) timeout: Option<Interval>,
    pub(crate) on_conflict: OnConflict,
    pub(crate) start_timeout: Option<Interval>,
}

/// What to do if the id exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnConflict {
    UseExisting,
    Fail,
    StartNew,
    /// A new run, or an error if one is open: children.
    Anew,
}

impl OnConflict {
    pub(crate) fn from_name(name: &str) -> Result<Self, Error> {
        match name {
            "use_existing" => Ok(Self::UseExisting),
            "fail" => Ok(Self::Fail),
            "start_new" => Ok(Self::StartNew),
            _ => Err(Error::WrongArgument {
                name: "on_conflict",
                expected: "\"use_existing\", \"fail\" or \"start_new\"".to_owned(),
            }),
        }
    }
}

/// Longest id, in bytes: it stands in a btree index, whose entries are limited to a third of a page.
const MAX_ID: usize = 1024;

pub(super) const PRIORITIES: std::ops::RangeInclusive<i32> = -1000..=1000;

/// Starts a workflow, or finds it started; returns its id.
pub(crate) fn start(start: Start) -> Result<String, Error> {
    insert(start, None, None, 0)
}

/// Where a run is to take its turn.
pub(crate) struct Queueing {
    pub(crate) queue: String,
    pub(crate) key: Option<String>,
    pub(crate) dedup: Option<String>,
}

/// Starts a workflow that takes its turn in a queue; returns its id, or that of the instance that is open there under the same
/// key for duplicates.
pub(crate) fn start_in_queue(start: Start, queueing: &Queueing) -> Result<String, Error> {
    seats::check(&queueing.queue, queueing.key.as_deref(), queueing.dedup.as_deref())?;
    insert(start, Some(queueing), None, 0)
}

/// Starts a workflow as a child. As its owner.
pub(crate) fn start_child(start: Start, parent: Parent, depth: i16) -> Result<(), Error> {
    insert(start, None, Some(parent), depth).map(|_| ())
}

/// Starts the run that goes on in the place of `run`, on the newest code of its workflow; returns its run id. As its owner.
pub(crate) fn start_next(run: &Locked, workflow: &str, input: &Json) -> Result<RunId, Error> {
    let now = clock();
    let resolved = define::resolve(workflow, input)?;
    // Of the same length, from now on.
    let begun = run.start_at.or(run.started_at).unwrap_or(now);
    let deadline = run.deadline.map(|deadline| now.saturating_add(deadline - begun));
    let next = NewRun {
        run_id: RunId::generate(),
        id: &run.id,
        seq: run.seq + 1,
        def_id: resolved.def_id,
        owner: run.owner,
        priority: i32::from(run.priority),
        input,
        created_at: now,
        deadline,
        start_at: None,
        start_by: None,
        depth: i32::from(run.depth),
        parent: run.parent,
        queue: run.queue.clone(),
        trace: run.trace,
    };
    scope::as_engine(|| {
        if runs::insert(&next) {
            if next.queue.is_some() {
                places::pass_on(run.run_id, next.run_id);
            }
            make_ready(&next, None);
            metrics::started(next.def_id, next.owner, workflow);
            Ok(next.run_id)
        } else {
            Err(Error::UnknownInstance(run.id.clone()))
        }
    })
}

/// A run that was inserted waits for its time, or for its first turn.
fn make_ready(run: &NewRun, seat: Option<&Seat>) {
    hints::started(run.run_id);
    match run.start_at {
        Some(at) => {
            timers::insert(at, run.run_id, timers::START, run.owner, run.priority);
            hints::timer(at);
        }
        None => match seat {
            Some(seat) => seat.queue(places::whole(run.run_id).into(), run.created_at),
            None => {
                ready::insert(run.owner, run.priority, run.run_id);
                hints::ready(run.owner);
            }
        },
    }
    for (limit, n) in [(run.deadline, timers::DEADLINE), (run.start_by, timers::START_BY)] {
        if let Some(limit) = limit {
            timers::insert(limit, run.run_id, n, run.owner, run.priority);
            hints::timer(limit);
        }
    }
}

fn insert(start: Start, queueing: Option<&Queueing>, parent: Option<Parent>, depth: i16) -> Result<String, Error> {
    let owner = scope::current_user();
    check_text("workflow", &start.workflow, MAX_ID)?;
    if let Some(id) = &start.id {
        check_text("id", id, MAX_ID)?;
    }
    if start.start_at.is_some() && start.delay.is_some() {
        return Err(Error::Together {
            first: "start_at",
            second: "delay",
        });
    }
    if start.priority.is_some_and(|priority| !PRIORITIES.contains(&priority)) {
        let expected = format!("from {} to {}", PRIORITIES.start(), PRIORITIES.end());
        return Err(Error::WrongArgument {
            name: "priority",
            expected,
        });
    }
    if start.start_at.is_some_and(|at| at == Timestamp::MAX) {
        return Err(Error::WrongArgument {
            name: "start_at",
            expected: "finite".to_owned(),
        });
    }
    if start.delay.is_some_and(|delay| delay.micros() < 0) {
        return Err(Error::WrongArgument {
            name: "delay",
            expected: "an interval that is not negative".to_owned(),
        });
    }
    if let Some(timeout) = start.timeout {
        calls::positive(timeout, "timeout")?;
    }
    if let Some(timeout) = start.start_timeout {
        calls::positive(timeout, "start_timeout")?;
    }
    step::check_size(Some(&start.input), || "input of the workflow".to_owned())?;
    define::check_owner(owner)?;
    // What is in flight goes to its end, with its children.
    if parent.is_none_or(|parent| parent.n == timers::SCHEDULE) {
        authority::check_use(owner)?;
    }
    let trace = trace::current()?;
    let resolved = define::resolve(&start.workflow, &start.input)?;

    let now = clock();
    let start_at = start
        .start_at
        .or_else(|| start.delay.map(|delay| delay.after(now)))
        .filter(|at| *at > now);
    let begins = start_at.unwrap_or(now);
    let limit = |own: Option<Interval>, option: Option<i64>| match (own, option) {
        (Some(timeout), _) => Some(timeout.after(begins)),
        (None, Some(micros)) => Some(begins.saturating_add(micros)),
        (None, None) => None,
    };
    let deadline = limit(start.timeout, resolved.options.timeout);
    let start_by = limit(start.start_timeout, resolved.options.start_timeout);
    let priority = start
        .priority
        .unwrap_or(i32::from(resolved.options.priority.unwrap_or(0)));
    let run_id = RunId::generate();
    let id = start.id.clone().unwrap_or_else(|| run_id.to_string());

    scope::as_engine(|| {
        let seat = queueing.map(|queueing| Seat {
            queue: queues::find(owner, &queueing.queue, now),
            owner,
            priority,
            key: queueing.key.as_deref().unwrap_or_default(),
            by_client: true,
        });
        let dedup = queueing.and_then(|queueing| queueing.dedup.as_deref());
        let dedup = seat.as_ref().zip(dedup).map(|(seat, key)| dedup::Key {
            queue_id: seat.queue.id,
            key,
        });
        if let Some(Err(open)) = dedup.map(|key| dedup::take_for_run(key, run_id)) {
            return Ok(open);
        }
        let mut run = NewRun {
            run_id,
            id: &id,
            seq: 1,
            def_id: resolved.def_id,
            owner,
            priority,
            input: &start.input,
            created_at: now,
            deadline,
            start_at,
            start_by,
            depth: i32::from(depth),
            parent,
            queue: seat.as_ref().map(|seat| seat.to_json(dedup.map(|key| key.key))),
            trace,
        };
        while !runs::insert(&run) {
            // Gone again if a purge came in between: then the insert succeeds now.
            let Some(existing) = runs::by_id(&id) else { continue };
            let anew = matches!(start.on_conflict, OnConflict::StartNew | OnConflict::Anew);
            if anew && !existing.status.is_open() {
                if !scope::has_privileges_of(owner, existing.owner) {
                    return Err(taken(&id));
                }
                // Unless it is just being retried, or has been purged.
                run.seq = if operations::stays_closed(existing.run_id) {
                    existing.seq + 1
                } else {
                    1
                };
                continue;
            }
            if let Some(key) = dedup {
                dedup::give_back(key, run_id);
            }
            return check_same(&id, &existing, &start, &resolved.function, owner).map(|()| id.clone());
        }
        if let Some((seat, queueing)) = seat.as_ref().zip(queueing) {
            backlog::make_room(&seat.queue, &queueing.queue, owner)?;
        }
        make_ready(&run, seat.as_ref());
        metrics::started(run.def_id, owner, &start.workflow);
        fault("started");
        Ok(id.clone())
    })
}

/// Starting the same again is starting once; anything else under the same id is a mistake of the caller's.
fn check_same(id: &str, existing: &Found, start: &Start, function: &str, caller: Oid) -> Result<(), Error> {
    if !scope::has_privileges_of(caller, existing.owner) {
        return Err(taken(id));
    }
    let exists = |detail: String| {
        Err(Error::InstanceExists {
            id: id.to_owned(),
            detail,
            own: true,
        })
    };
    if matches!(start.on_conflict, OnConflict::Fail | OnConflict::Anew) {
        return exists(format!("Its status is {}.", existing.status.name()));
    }
    if existing.function != function {
        return exists(format!("It runs {}, not {function}.", existing.function));
    }
    if existing.input != start.input {
        return exists("It was started with another input.".to_owned());
    }
    Ok(())
}

/// All that a stranger learns of an id: that it is in use.
fn taken(id: &str) -> Error {
    Error::InstanceExists {
        id: id.to_owned(),
        detail: "It belongs to another role.".to_owned(),
        own: false,
    }
}

/// Refuses empty and overlong names.
pub(crate) fn check_text(name: &'static str, text: &str, limit: usize) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::EmptyArgument { name });
    }
    if text.len() > limit {
        return Err(Error::TooLong {
            name,
            bytes: text.len(),
            limit,
        });
    }
    Ok(())
}
