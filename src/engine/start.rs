//! Starting a workflow.

use crate::engine::{calls, define, step};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::{Interval, Json, Oid, RunId, Timestamp, clock, scope};
use crate::store::runs::{self, Found, NewRun};
use crate::store::{ready, timers};

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

const PRIORITIES: std::ops::RangeInclusive<i32> = -1000..=1000;

/// Starts a workflow, or finds it started; returns its id.
pub(crate) fn start(start: Start) -> Result<String, Error> {
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
        let mut seq = 1;
        let inserted = loop {
            let run = NewRun {
                run_id,
                id: &id,
                seq,
                def_id: resolved.def_id,
                owner,
                priority,
                input: &start.input,
                created_at: now,
                deadline,
                start_at,
                start_by,
            };
            if runs::insert(&run) {
                break true;
            }
            // Gone again if a purge came in between: then the insert succeeds now.
            let Some(existing) = runs::by_id(&id) else { continue };
            if start.on_conflict == OnConflict::StartNew && !existing.status.is_open() {
                check_access(&id, existing.owner, owner)?;
                seq = existing.seq + 1;
                continue;
            }
            check_same(&id, &existing, &start, &resolved.function, owner)?;
            break false;
        };
        if inserted {
            hints::started(run_id);
            match start_at {
                Some(at) => {
                    timers::insert(at, run_id, timers::START, owner, priority);
                    hints::timer(at);
                }
                None => {
                    ready::insert(owner, priority, run_id);
                    hints::ready(owner);
                }
            }
            for (limit, n) in [(deadline, timers::DEADLINE), (start_by, timers::START_BY)] {
                if let Some(limit) = limit {
                    timers::insert(limit, run_id, n, owner, priority);
                    hints::timer(limit);
                }
            }
        }
        Ok(())
    })
    .map(|()| id.clone())
}

/// Starting the same again is starting once; anything else under the same id is a mistake of the caller's.
fn check_same(id: &str, existing: &Found, start: &Start, function: &str, caller: Oid) -> Result<(), Error> {
    let own = check_access(id, existing.owner, caller).is_ok();
    let exists = |detail: String| {
        Err(Error::InstanceExists {
            id: id.to_owned(),
            detail,
            own,
        })
    };
    if !own {
        return exists("It belongs to another role.".to_owned());
    }
    if start.on_conflict == OnConflict::Fail {
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

/// Refuses a caller who has not the privileges of the instance's owner.
pub(crate) fn check_access(id: &str, owner: Oid, caller: Oid) -> Result<(), Error> {
    if scope::has_privileges_of(caller, owner) {
        Ok(())
    } else {
        Err(Error::NotYours(id.to_owned()))
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
