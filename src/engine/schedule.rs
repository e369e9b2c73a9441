//! Schedules: what starts workflows at times to come. Here is what users say of them; [`fire`] acts on it.
//!
//! Code of the owner's (the query that gives the times, the conversion of an input) is run by the owner's executors, or by a
//! session that has been given it just now. Who may control a schedule otherwise must not run it with its own privileges.

mod change;
pub(crate) mod fire;
mod times;

pub(crate) use change::Change;

use serde_json::Value;

use pg_workflow_core::target::is_name;
use pg_workflow_core::ticks::{self, CatchUp, stamp};

use crate::engine::start::{PRIORITIES, check_text};
use crate::engine::{authority, define};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::fmgr::role_name;
use crate::pg::{Json, Oid, RunId, Timestamp, clock, errdata, scope};
use crate::store::schedules::{self, Schedule};
use crate::store::{home, timers};
use change::{Timing, apply};
use times::Times;

/// Microseconds from 1970, from which `core` counts, to 2000, from which Postgres does.
const EPOCH: i64 = 946_684_800_000_000;

/// A fire comes before the turns that are ready: it is short, and others are waiting for what it starts.
const PRIORITY: i32 = *PRIORITIES.start();

/// The workflow that runs a schedule's SQL.
const RUN_SQL: &str = "wf.run_sql";

/// Longest name, in bytes: an id has a time and a number behind it.
const MAX_NAME: usize = 900;

/// What becomes of a tick while a run of the schedule is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overlap {
    Skip,
    /// It waits for the end; a second one is skipped.
    QueueOne,
    Allow,
    /// The run is cancelled, and the tick waits for its end.
    Cancel,
}

impl Overlap {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "skip" => Some(Self::Skip),
            "queue_one" => Some(Self::QueueOne),
            "allow" => Some(Self::Allow),
            "cancel" => Some(Self::Cancel),
            _ => None,
        }
    }
}

/// `wf_schedule`: makes a schedule of the current user's, or says anew what an old one is; returns its next time.
pub(crate) fn set(name: &str, change: &Change) -> Result<Option<Timestamp>, Error> {
    check_text("name", name, MAX_NAME)?;
    let owner = scope::current_user();
    define::check_owner(owner)?;
    authority::check_use(owner)?;
    let now = clock();
    let (mut row, is_new) = scope::as_engine(|| {
        let id = RunId::generate();
        let is_new = schedules::insert(id, name, owner, now);
        home::claim();
        let found = || schedules::find(name, owner, false, Some(owner)).into_iter().next();
        let id = if is_new { Some(id) } else { found().map(|(id, _)| id) };
        let row = id.and_then(schedules::lock);
        row.map(|row| (row, is_new))
            .ok_or_else(|| Error::UnknownSchedule(name.to_owned()))
    })?;
    if !is_new {
        errdata::notice(format!("schedule \"{name}\" already exists, replacing it"));
    }
    let before = Timing::of(&row);
    row.schedule.clear();
    row.time_zone = "UTC".to_owned();
    row.workflow = None;
    row.command = None;
    row.input = Json::parse("{}");
    row.options = Json::parse("{}");
    row.overlap = "skip".to_owned();
    row.catch_up = CatchUp::Last.name().to_owned();
    row.catch_up_window = None;
    row.jitter = 0;
    row.starts_at = None;
    row.ends_at = None;
    row.paused = false;
    apply(&mut row, change, Some(before).filter(|_| !is_new), true, now)?;
    Ok(row.next_at)
}

/// `wf_alter_schedule`: changes a schedule; returns its next time, as far as it is known.
pub(crate) fn alter(name: &str, owner: Option<Oid>, change: &Change) -> Result<Option<Timestamp>, Error> {
    let caller = scope::current_user();
    let all = change.only_pauses() && authority::operates_all(caller);
    let mut row = scope::as_engine(|| find_locked(name, caller, all, owner))?;
    if change.names_code() && row.owner != caller {
        return Err(Error::OwnersSchedule(name.to_owned()));
    }
    let before = Timing::of(&row);
    let evaluates = change.schedule.is_some() || scope::is_session_user(row.owner);
    apply(&mut row, change, Some(before), evaluates, clock())?;
    Ok(row.next_at)
}

/// `wf_unschedule`: removes a schedule; false if there is none. Its runs go on.
pub(crate) fn unset(name: &str, owner: Option<Oid>) -> Result<bool, Error> {
    let caller = scope::current_user();
    scope::as_engine(|| {
        let row = match find_locked(name, caller, false, owner) {
            Err(Error::UnknownSchedule(_)) => return Ok(false),
            found => found?,
        };
        if let Some(timer) = row.timer_at {
            schedules::delete_timer(timer, row.id);
        }
        schedules::delete(row.id);
        Ok(true)
    })
}

/// `wf_schedule_run`: has a schedule start its workflow now, beside its times; returns the instance's id.
pub(crate) fn run_now(name: &str, owner: Option<Oid>) -> Result<String, Error> {
    let caller = scope::current_user();
    scope::as_engine(|| {
        let mut row = find_locked(name, caller, false, owner)?;
        let now = clock();
        let asked = *row.asked_at.get_or_insert(now);
        // Not in place of the one that it has: by an executor of the owner's.
        timers::insert_branch(now, schedules::unit(row.id), row.owner, PRIORITY);
        hints::timer(now);
        schedules::update(&row);
        Ok(format!("{}/{}", row.name, stamp(asked + EPOCH)))
    })
}

/// `wf_schedule_preview`: the next times of a schedule that is there, or of a text; each with what the clock of its zone shows.
pub(crate) fn preview(
    text: &str,
    count: i32,
    zone: Option<&str>,
    after: Option<Timestamp>,
) -> Result<Vec<(Timestamp, String)>, Error> {
    if !(1..=1000).contains(&count) {
        return Err(Error::WrongArgument {
            name: "n",
            expected: "from 1 to 1000".to_owned(),
        });
    }
    let caller = scope::current_user();
    let known = scope::as_engine(|| {
        let (id, _) = schedules::find(text, caller, authority::sees_all(caller), None)
            .into_iter()
            .next()?;
        schedules::get(id)
    });
    let times = if let Some(row) = known {
        let reading = times::read(&row.schedule, zone.unwrap_or(&row.time_zone))?;
        let times = Times::new(reading, row.starts_at, row.ends_at);
        if times.is_query() && !scope::is_session_user(row.owner) {
            return Err(Error::NotConnectedAs {
                function: "wf_schedule_preview of a query",
                role: role_name(row.owner),
            });
        }
        times
    } else {
        let reading = times::read(text, zone.unwrap_or("UTC"))?;
        remark(&reading.remarks);
        Times::new(reading, None, None)
    };
    let mut after = after.unwrap_or_else(clock);
    let mut found = Vec::new();
    while found.len() < count as usize {
        match times.next(after)? {
            Some(next) => {
                found.push((next, times.local(next)));
                after = next;
            }
            None => break,
        }
    }
    Ok(found)
}

/// The one schedule of a name that a role may control, or of `all`, locked.
fn find_locked(name: &str, caller: Oid, all: bool, owner: Option<Oid>) -> Result<Schedule, Error> {
    let found = schedules::find(name, caller, all, owner);
    let unknown = || Error::UnknownSchedule(name.to_owned());
    let id = match found.as_slice() {
        [] => return Err(unknown()),
        [(id, _)] => *id,
        // One's own first.
        [(id, of), ..] if *of == caller => *id,
        several => {
            return Err(Error::AmbiguousSchedule {
                name: name.to_owned(),
                owners: several.iter().map(|(_, owner)| role_name(*owner)).collect(),
            });
        }
    };
    schedules::lock(id).ok_or_else(unknown)
}

fn remark(remarks: &[String]) {
    for remark in remarks {
        errdata::notice(remark.clone());
    }
}

/// When a tick is acted on.
fn due(row: &Schedule, tick: Timestamp) -> Timestamp {
    tick + ticks::jitter(&row.id.0, tick, row.jitter)
}

/// Sets the one timer of a schedule. It is inserted also if it is known already: it may have led here, and be gone.
fn set_timer(row: &mut Schedule, due: Option<Timestamp>) {
    if let Some(old) = row.timer_at.filter(|old| due != Some(*old)) {
        schedules::delete_timer(old, row.id);
    }
    row.timer_at = due;
    if let Some(due) = due {
        timers::insert_branch(due, schedules::unit(row.id), row.owner, PRIORITY);
        hints::timer(due);
    }
}

// --- what is started -------------------------------------------------------------------------------------------------

/// How runs are started, as `options` has it.
struct StartOptions {
    priority: Option<i32>,
    /// Microseconds.
    timeout: Option<i64>,
    retry: Option<Value>,
    time_key: Option<String>,
    transactional: bool,
}

fn start_options(row: &Schedule) -> StartOptions {
    let options = row.options.to_value();
    let number = |key: &str| options.get(key).and_then(Value::as_i64);
    StartOptions {
        priority: number("priority").and_then(|priority| i32::try_from(priority).ok()),
        timeout: number("timeout"),
        retry: options.get("retry").cloned(),
        time_key: options.get("time_key").and_then(Value::as_str).map(str::to_owned),
        transactional: options.get("transactional").is_none(),
    }
}

/// The input of a run that is for a tick. As the engine.
fn input_for(row: &Schedule, tick: Timestamp) -> Json {
    let options = start_options(row);
    let with_time = options
        .time_key
        .and_then(|key| scope::with_plain_output(|| schedules::input_with(&row.input, &key, tick)));
    let input = with_time.unwrap_or_else(|| row.input.clone());
    let Some(command) = &row.command else {
        return input;
    };
    // A step would take one word for the name of a function.
    let end = if is_name(command) { ";" } else { "" };
    Json::object(&[
        ("sql", Some(Value::from(format!("{command}{end}")).to_string())),
        ("input", Some(input.to_text())),
        ("retry", options.retry.map(|retry| retry.to_string())),
        ("transactional", (!options.transactional).then(|| "false".to_owned())),
    ])
}
