//! Schedules: what starts workflows at times to come. Here is what users say of them; [`fire`] acts on it.
//!
//! Code of the owner's (the query that gives the times, the conversion of an input) is run by the owner's executors, or by a
//! session that has been given it just now. Who may control a schedule otherwise must not run it with its own privileges.

pub(super) mod fire;
mod times;

use serde_json::{Map, Value};

use pg_workflow_core::target::is_name;
use pg_workflow_core::ticks::{self, CatchUp, stamp};

use crate::engine::start::{PRIORITIES, check_text};
use crate::engine::{calls, define, step, target};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::fmgr::role_name;
use crate::pg::{Interval, Json, Oid, RunId, Timestamp, clock, errdata, guard, scope, spi};
use crate::store::schedules::{self, Schedule};
use crate::store::{definitions, home, timers};
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

/// What is said of a schedule; what is not given stays as it is.
pub(crate) struct Change {
    pub(crate) schedule: Option<String>,
    /// A workflow, or SQL.
    pub(crate) workflow: Option<String>,
    pub(crate) input: Option<Json>,
    pub(crate) sql: Option<String>,
    pub(crate) time_zone: Option<String>,
    pub(crate) overlap: Option<String>,
    pub(crate) catch_up: Option<String>,
    pub(crate) catch_up_window: Option<Interval>,
    pub(crate) jitter: Option<Interval>,
    pub(crate) starts_at: Option<Timestamp>,
    pub(crate) ends_at: Option<Timestamp>,
    pub(crate) paused: Option<bool>,
    pub(crate) time_key: Option<String>,
    pub(crate) priority: Option<i32>,
    pub(crate) timeout: Option<Interval>,
    pub(crate) retry: Option<Json>,
}

impl Change {
    /// It changes what is run, or by whose query it is known when.
    fn names_code(&self) -> bool {
        self.workflow.is_some()
            || self.sql.is_some()
            || self.input.is_some()
            || self.time_key.is_some()
            || self.retry.is_some()
            || self.schedule.is_some()
    }
}

/// `wf_schedule`: makes a schedule of the current user's, or says anew what an old one is; returns its next time.
pub(crate) fn set(name: &str, change: &Change) -> Result<Option<Timestamp>, Error> {
    check_text("name", name, MAX_NAME)?;
    let owner = scope::current_user();
    define::check_owner(owner)?;
    let now = clock();
    let (mut row, is_new) = scope::as_engine(|| {
        let id = RunId::generate();
        let is_new = schedules::insert(id, name, owner, now);
        home::claim();
        let found = || schedules::find(name, owner, Some(owner)).into_iter().next();
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
    let mut row = scope::as_engine(|| find_locked(name, caller, owner))?;
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
        let row = match find_locked(name, caller, owner) {
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
        let mut row = find_locked(name, caller, owner)?;
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
        let (id, _) = schedules::find(text, caller, None).into_iter().next()?;
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
        match times.next(after).unwrap_or_else(|error| guard::throw(error)) {
            Some(next) => {
                found.push((next, times.local(next)));
                after = next;
            }
            None => break,
        }
    }
    Ok(found)
}

/// The one schedule of a name that a role may control, locked.
fn find_locked(name: &str, caller: Oid, owner: Option<Oid>) -> Result<Schedule, Error> {
    let found = schedules::find(name, caller, owner);
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

/// What decides about the next time.
#[derive(PartialEq, Eq)]
struct Timing {
    schedule: String,
    time_zone: String,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    paused: bool,
}

impl Timing {
    fn of(row: &Schedule) -> Self {
        Self {
            schedule: row.schedule.clone(),
            time_zone: row.time_zone.clone(),
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            paused: row.paused,
        }
    }
}

/// Changes a locked schedule and writes it. `before`: what it was, unless it is new. `evaluates`: a query may be asked here.
fn apply(
    row: &mut Schedule,
    change: &Change,
    before: Option<Timing>,
    evaluates: bool,
    now: Timestamp,
) -> Result<(), Error> {
    set_policies(row, change)?;
    set_start(row, change, now)?;
    if let Some(schedule) = &change.schedule {
        row.schedule = schedule.clone();
    }
    if let Some(zone) = &change.time_zone {
        row.time_zone = zone.clone();
    }
    let reading = times::read(&row.schedule, &row.time_zone)?;
    row.schedule = reading.text.clone();
    row.time_zone = reading.zone.clone();
    if change.schedule.is_some() {
        remark(&reading.remarks);
    }
    let quiet = !reading.remarks.is_empty();
    let times = Times::new(reading, row.starts_at, row.ends_at);
    // A tick that is due and not yet dealt with is not to be lost because the same was said once more.
    let anew = before != Some(Timing::of(row));
    if anew {
        row.after_at = now;
    }
    let mut look_at = None;
    if row.paused {
        row.next_at = None;
        if row.queued_at.take().is_some() {
            row.skipped += 1;
        }
    } else if times.is_query() && !evaluates {
        row.next_at = None;
        look_at = Some(now);
    } else if anew || times.is_query() {
        row.next_at = times.next(row.after_at).unwrap_or_else(|error| guard::throw(error));
        if row.next_at.is_none() && times.is_query() {
            // Asked again by an executor, later.
            look_at = Some(now);
        }
        if row.next_at.is_none() && !quiet {
            never(row, &times)?;
        }
    }
    let due = row.next_at.map(|tick| due(row, tick)).or(look_at);
    scope::as_engine(|| {
        set_timer(row, due);
        schedules::update(row);
    });
    Ok(())
}

/// There is no next time. A point in time that has passed is a mistake; the rest may be meant.
fn never(row: &Schedule, times: &Times) -> Result<(), Error> {
    if row.schedule.starts_with("at ") {
        return Err(Error::TimePassed(row.schedule.clone()));
    }
    errdata::notice(if times.is_query() {
        "the query returns no time to come: it is asked again each hour, and by wf_alter_schedule".to_owned()
    } else {
        "this schedule has no time to come".to_owned()
    });
    Ok(())
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
}

fn start_options(row: &Schedule) -> StartOptions {
    let options = row.options.to_value();
    let number = |key: &str| options.get(key).and_then(Value::as_i64);
    StartOptions {
        priority: number("priority").and_then(|priority| i32::try_from(priority).ok()),
        timeout: number("timeout"),
        retry: options.get("retry").cloned(),
        time_key: options.get("time_key").and_then(Value::as_str).map(str::to_owned),
    }
}

/// The input of a run that is for a tick. As the engine.
fn input_for(row: &Schedule, tick: Timestamp) -> Json {
    let options = start_options(row);
    let with_time = options.time_key.and_then(|key| {
        scope::with_plain_output(|| schedules::input_with(&row.input, &key, tick))
    });
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
    ])
}

/// What is started, and with what.
fn set_start(row: &mut Schedule, change: &Change, now: Timestamp) -> Result<(), Error> {
    if let Some(input) = &change.input {
        step::check_size(Some(input), || "input of the workflow".to_owned())?;
        row.input = input.clone();
    }
    set_options(row, change)?;
    match (&change.workflow, &change.sql) {
        (Some(_), Some(_)) => {
            return Err(Error::Together {
                first: "workflow",
                second: "sql",
            });
        }
        (Some(text), None) if is_workflow(text) => {
            check_text("workflow", text, 1024)?;
            (row.workflow, row.command) = (Some(text.clone()), None);
        }
        (Some(sql), None) | (None, Some(sql)) => {
            check_text("sql", sql.trim(), crate::settings::max_payload())?;
            (row.workflow, row.command) = (None, Some(sql.clone()));
        }
        (None, None) => {}
    }
    if change.workflow.is_some() || change.sql.is_some() {
        row.search_path = scope::search_path();
    }
    if row.workflow.is_none() && row.command.is_none() {
        return Err(Error::OneOf("workflow and sql"));
    }
    if change.names_code() {
        check_start(row, now)?;
    }
    Ok(())
}

/// The name of a workflow, and not SQL.
fn is_workflow(text: &str) -> bool {
    let role = scope::current_user();
    is_name(text) || scope::as_engine(|| definitions::named(text, role)).is_some()
}

/// Refuses what could not be started. As the owner.
fn check_start(row: &Schedule, now: Timestamp) -> Result<(), Error> {
    let options = start_options(row);
    if options.time_key.is_some() && !row.input.to_value().is_object() {
        return Err(Error::WrongArgument {
            name: "input",
            expected: "an object, for time_key to put the time into".to_owned(),
        });
    }
    if let Some(command) = &row.command {
        if spi::count_statements(command) == 0 {
            return Err(Error::EmptyArgument { name: "sql" });
        }
        return Ok(());
    }
    if options.retry.is_some() {
        return Err(Error::WrongArgument {
            name: "retry",
            expected: "left out: it is for SQL, a workflow has policies of its own".to_owned(),
        });
    }
    let workflow = row.workflow.as_deref().unwrap_or_default();
    let input = scope::as_engine(|| input_for(row, now));
    let (function, _) = define::find(workflow, &input)?;
    target::check_values(&function, &input);
    Ok(())
}

fn set_options(row: &mut Schedule, change: &Change) -> Result<(), Error> {
    let mut options = match row.options.to_value() {
        Value::Object(options) => options,
        _ => Map::new(),
    };
    let mut put = |key: &str, value: Option<Value>| match value {
        Some(value) => drop(options.insert(key.to_owned(), value)),
        None => drop(options.remove(key)),
    };
    if let Some(priority) = change.priority {
        if !PRIORITIES.contains(&priority) {
            return Err(Error::WrongArgument {
                name: "priority",
                expected: format!("from {} to {}", PRIORITIES.start(), PRIORITIES.end()),
            });
        }
        put("priority", Some(priority.into()));
    }
    if let Some(timeout) = change.timeout {
        put("timeout", length(timeout, "timeout")?.map(Value::from));
    }
    if let Some(retry) = &change.retry {
        calls::read_policy(retry)?;
        put("retry", Some(retry.to_value()));
    }
    if let Some(key) = &change.time_key {
        put("time_key", Some(&**key).filter(|key| !key.is_empty()).map(Value::from));
    }
    row.options = Json::from_value(&Value::Object(options));
    Ok(())
}

/// A length of time in microseconds; `None`: 0, which takes away what was said before.
fn length(interval: Interval, name: &'static str) -> Result<Option<i64>, Error> {
    match interval.micros() {
        ..0 => Err(Error::WrongArgument {
            name,
            expected: "an interval that is not negative".to_owned(),
        }),
        micros => Ok(Some(micros).filter(|micros| *micros > 0)),
    }
}

fn set_policies(row: &mut Schedule, change: &Change) -> Result<(), Error> {
    if let Some(overlap) = &change.overlap {
        Overlap::from_name(overlap).ok_or_else(|| Error::WrongArgument {
            name: "overlap",
            expected: "\"skip\", \"queue_one\", \"allow\" or \"cancel\"".to_owned(),
        })?;
        row.overlap = overlap.clone();
    }
    if let Some(catch_up) = &change.catch_up {
        CatchUp::from_name(catch_up).ok_or_else(|| Error::WrongArgument {
            name: "catch_up",
            expected: "\"none\", \"last\" or \"all\"".to_owned(),
        })?;
        row.catch_up = catch_up.clone();
    }
    if let Some(window) = change.catch_up_window {
        row.catch_up_window = length(window, "catch_up_window")?;
    }
    if row.catch_up == CatchUp::All.name() && row.catch_up_window.is_none() {
        return Err(Error::WrongArgument {
            name: "catch_up_window",
            expected: "given with catch_up => 'all'".to_owned(),
        });
    }
    if let Some(jitter) = change.jitter {
        row.jitter = length(jitter, "jitter")?.unwrap_or_default();
    }
    // Infinite ones take away what was said before.
    let finite = |at: &Timestamp| *at != Timestamp::MIN && *at != Timestamp::MAX;
    if let Some(at) = change.starts_at {
        row.starts_at = Some(at).filter(finite);
    }
    if let Some(at) = change.ends_at {
        row.ends_at = Some(at).filter(finite);
    }
    if let (Some(start), Some(end)) = (row.starts_at, row.ends_at)
        && end < start
    {
        return Err(Error::WrongArgument {
            name: "ends_at",
            expected: "behind starts_at".to_owned(),
        });
    }
    if let Some(paused) = change.paused {
        row.paused = paused;
    }
    Ok(())
}
