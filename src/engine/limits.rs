//! Limits in time: of a run, of its start, of a step over all its attempts. Each error says what has expired, what its
//! limit was and since when.

use crate::engine::code::Code;
use crate::engine::history::{History, describe};
use crate::engine::step::StepSpec;
use crate::engine::turn::{self, Turn};
use crate::error::Error;
use crate::pg::errdata::unpack;
use crate::pg::value::timestamp_text;
use crate::pg::{PgError, Timestamp};
use crate::store::runs::{self, Limits, Locked, Status};
use crate::store::timers;

/// A duration in words.
fn span(micros: i64) -> String {
    if micros % 1_000_000 == 0 {
        format!("{} s", micros / 1_000_000)
    } else {
        format!("{} ms", micros as f64 / 1000.0)
    }
}

/// The error of a run whose deadline has passed while it stood at `at`, or at what is open.
pub(super) fn run_timeout(run: &Locked, code: &Code, history: &History, at: Option<String>) -> PgError {
    let open = history.open().into_iter().map(|position| history.row(position));
    let open: Vec<String> = open.map(|row| describe(row.kind, &row.name)).collect();
    let stood = match at {
        Some(at) => format!("It stood at {at}."),
        None if !open.is_empty() => format!("It stood at {}.", open.join(", ")),
        None if run.status == Status::Pending => "It had not begun.".to_owned(),
        None => "It stood between two calls.".to_owned(),
    };
    let begins = runs::limits(run.run_id).map(|limits| limits.begins);
    let detail = format!("Its deadline was {}. {stood}", since(run.deadline, begins));
    Error::RunTimeout {
        workflow: code.workflow.clone(),
        detail,
    }
    .into()
}

/// A time limit with what it is counted from.
fn since(limit: Option<Timestamp>, begins: Option<Timestamp>) -> String {
    let (Some(limit), Some(begins)) = (limit, begins) else {
        return limit.map(timestamp_text).unwrap_or_default();
    };
    format!(
        "{}, {} after {}",
        timestamp_text(limit),
        span(limit - begins),
        timestamp_text(begins)
    )
}

fn start_timeout(limits: Limits) -> PgError {
    let detail = format!("It had to start by {}.", since(limits.start_by, Some(limits.begins)));
    Error::StartTimeout {
        workflow: limits.workflow,
        detail,
    }
    .into()
}

/// Ends the runs among those whose timers were due that should have begun by now, so that they end also where no executor
/// comes to them.
pub(super) fn expire_starts(moved: impl Iterator<Item = timers::Position>) {
    let overdue: Vec<_> = moved
        .filter(|position| position.n == timers::START_BY)
        .map(|position| position.run)
        .collect();
    if overdue.is_empty() {
        return;
    }
    // One that an executor has locked is being begun.
    for run in runs::lock(&overdue).iter().filter(|run| run.status == Status::Pending) {
        if let Some(limits) = runs::limits(run.run_id) {
            turn::give_up(run, &start_timeout(limits));
        }
    }
}

impl Turn {
    /// For a run that is about to begin; false if it is too late: then it has failed.
    pub(super) fn begins_in_time(&mut self, now: Timestamp) -> bool {
        let Some(start_by) = self.run.start_by else {
            return true;
        };
        if start_by > now {
            timers::delete(start_by, self.run.run_id, timers::START_BY);
            // So that it counts as begun however this turn ends.
            self.wrote = true;
            return true;
        }
        let error = runs::limits(self.run.run_id).map(start_timeout);
        self.close(Status::Failed, None, error.as_ref());
        false
    }
}

/// What the error of an attempt says that has taken too long.
pub(super) fn attempt_detail(micros: i64, begun: Timestamp) -> String {
    format!(
        "An attempt may take {}; this one began at {}.",
        span(micros),
        timestamp_text(begun)
    )
}

/// A time for all attempts that is not to be limited, whatever the workflow's options are.
pub(super) const UNLIMITED: i64 = i64::MAX;

/// When the time of a step over all its attempts is over; `begun` is the beginning of the first.
pub(super) fn step_until(code: &Code, spec: &StepSpec, begun: Timestamp) -> Option<Timestamp> {
    total(code, spec).map(|micros| begun.saturating_add(micros))
}

fn total(code: &Code, spec: &StepSpec) -> Option<i64> {
    let micros = spec.total_timeout.or(code.options.step_total_timeout);
    micros.filter(|micros| *micros < UNLIMITED)
}

/// The error of a step whose time over all attempts is over, or will be before the next.
pub(super) fn step_timeout(
    code: &Code,
    spec: &StepSpec,
    name: &str,
    attempts: i32,
    begun: Timestamp,
    last: Option<&PgError>,
) -> PgError {
    let last = last.map_or_else(String::new, |error| {
        format!(" The last error was: {} ({}).", error.message, unpack(error.sqlstate))
    });
    let detail = format!(
        "All attempts together may take {}, since {}.{last}",
        span(total(code, spec).unwrap_or_default()),
        timestamp_text(begun)
    );
    Error::StepTotalTimeout {
        step: name.to_owned(),
        attempts: if attempts == 1 {
            "1 attempt".to_owned()
        } else {
            format!("{attempts} attempts")
        },
        detail,
    }
    .into()
}
