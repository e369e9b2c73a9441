//! What is said of a schedule: read, checked and written into its row.

use serde_json::{Map, Value};

use pg_workflow_core::target::is_name;
use pg_workflow_core::ticks::CatchUp;

use crate::engine::schedule::times::{self, Times};
use crate::engine::schedule::{Overlap, due, input_for, remark, set_timer, start_options};
use crate::engine::start::{PRIORITIES, check_text};
use crate::engine::{calls, define, step, target};
use crate::error::Error;
use crate::pg::{Interval, Json, Timestamp, errdata, scope, spi};
use crate::settings;
use crate::store::definitions;
use crate::store::schedules::{self, Schedule};

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
    pub(crate) transactional: Option<bool>,
}

impl Change {
    /// It changes what is run.
    pub(super) fn names_code(&self) -> bool {
        self.workflow.is_some()
            || self.sql.is_some()
            || self.input.is_some()
            || self.time_key.is_some()
            || self.retry.is_some()
            || self.transactional.is_some()
    }

    /// It pauses or resumes, and nothing else.
    pub(super) fn only_pauses(&self) -> bool {
        matches!(
            self,
            Self {
                schedule: None,
                workflow: None,
                input: None,
                sql: None,
                time_zone: None,
                overlap: None,
                catch_up: None,
                catch_up_window: None,
                jitter: None,
                starts_at: None,
                ends_at: None,
                paused: Some(_),
                time_key: None,
                priority: None,
                timeout: None,
                retry: None,
                transactional: None,
            }
        )
    }
}

/// What decides about the next time.
#[derive(PartialEq, Eq)]
pub(super) struct Timing {
    schedule: String,
    time_zone: String,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    paused: bool,
}

impl Timing {
    pub(super) fn of(row: &Schedule) -> Self {
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
pub(super) fn apply(
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
    if times.is_query() && change.schedule.is_some() && row.owner != scope::current_user() {
        return Err(Error::OwnersSchedule(row.name.clone()));
    }
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
        match times.next(row.after_at) {
            Ok(next) => {
                row.next_at = next;
                row.failures = 0;
                if next.is_none() && !quiet && !times.is_reboot() {
                    never(row, &times)?;
                }
            }
            Err(error) if change.schedule.is_none() => {
                // It was there before, and is no reason to refuse the rest. An executor finds it too, and tries again.
                row.next_at = None;
                errdata::warn(error);
            }
            Err(error) => return Err(error.into()),
        }
        if row.next_at.is_none() && times.is_query() {
            // Asked again by an executor, later.
            look_at = Some(now);
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
            check_text("sql", sql.trim(), settings::max_payload())?;
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
    if options.time_key.is_some() && row.input.keys().is_none() {
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
    for (name, given) in [
        ("retry", options.retry.is_some()),
        ("transactional", !options.transactional),
    ] {
        if given {
            let expected = "left out: it is for SQL, the steps of a workflow have their own".to_owned();
            return Err(Error::WrongArgument { name, expected });
        }
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
    if let Some(transactional) = change.transactional {
        put("transactional", (!transactional).then_some(Value::Bool(false)));
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
