//! Looking at a run from outside: its status, its values, its result.

use serde_json::json;

use crate::engine::authority::{self, Access};
use crate::error::Error;
use crate::hub::{hints, results, slots};
use crate::pg::clock::steady;
use crate::pg::{Interval, Json, Oid, PgError, guard, latch, scope, txn};
use crate::store::pauses;
use crate::store::runs::{self, Brief, Found, Status};

pub(crate) fn status(id: &str) -> Result<&'static str, Error> {
    let caller = scope::current_user();
    let run = scope::as_engine(|| authority::find(id, caller, Access::See))?;
    if run.status.is_open()
        && slots::list(crate::pg::process::my_database())
            .iter()
            .any(|s| s.run == Some(run.run_id))
    {
        return Ok(Status::Running.name());
    }
    if run.status.is_open() && scope::as_engine(|| pauses::of_run(run.run_id)).is_some() {
        return Ok("paused");
    }
    Ok(run.status.name())
}

/// The whole instance, or one published value.
pub(crate) fn get(id: &str, name: Option<&str>) -> Result<Option<Json>, Error> {
    let caller = scope::current_user();
    scope::as_engine(|| {
        let run = authority::find(id, caller, Access::See)?;
        Ok(match name {
            Some(name) => runs::published(run.run_id, name),
            None => runs::get(run.run_id).map(|whole| with_pause(&run, whole)),
        })
    })
}

/// What is shown of a run that may be paused.
fn with_pause(run: &Brief, whole: Json) -> Json {
    let pause = Some(())
        .filter(|()| run.status.is_open())
        .and_then(|()| pauses::of_run(run.run_id));
    let Some(pause) = pause else { return whole };
    whole.merge(&Json::from_value(&json!({ "status": "paused", "waiting_for": pause })))
}

/// The open or last run of an id with its values, if the caller may see it. As the engine.
fn whole(id: &str, caller: Oid) -> Result<Found, Error> {
    let run = runs::by_id(id).ok_or_else(|| Error::UnknownInstance(id.to_owned()))?;
    authority::check(id, run.owner, caller, Access::See)?;
    Ok(run)
}

/// The result of the last run of an id, waiting up to `wait` for its end.
///
/// # Errors
/// Unwinds with the workflow's own error if it has failed.
pub(crate) fn result(id: &str, wait: Interval) -> Result<Option<Json>, Error> {
    let caller = scope::current_user();
    let until = steady().saturating_add(wait.micros().max(0));
    let first = scope::as_engine(|| whole(id, caller))?;
    if !first.status.is_open() || wait.micros() <= 0 {
        return outcome(id, first);
    }
    if hints::started_here(first.run_id) {
        let hint = "Commit the transaction that starts it first.";
        return Err(not_ended(id, &first, hint));
    }
    if txn::one_snapshot() {
        let hint = "Its end cannot be seen under this isolation level: wait in a READ COMMITTED transaction.";
        return Err(not_ended(id, &first, hint));
    }
    // Replay wakes nobody: a standby has to look.
    let register = |run| !txn::in_recovery() && results::wait_for(run);
    let (mut waits_for, mut registered) = (first.run_id, register(first.run_id));
    let last = guard::catch(|| {
        loop {
            let run = scope::as_engine(|| whole(id, caller)).unwrap_or_else(|error| error.throw());
            let rest = until - steady();
            if !run.status.is_open() || rest <= 0 {
                return run;
            }
            if run.run_id != waits_for {
                // It has been continued as a new run, which may have ended since.
                results::stop_waiting();
                (waits_for, registered) = (run.run_id, register(run.run_id));
                continue;
            }
            // Without a place in shared memory nobody wakes us: then, and only then, look again from time to time.
            latch::wait(Some(if registered { rest } else { rest.min(UNREGISTERED_PAUSE) }));
        }
    });
    results::stop_waiting();
    outcome(id, last.unwrap_or_else(|error| guard::throw(error)))
}

pub(super) const UNREGISTERED_PAUSE: i64 = 200_000;

fn outcome(id: &str, run: Found) -> Result<Option<Json>, Error> {
    let error = run.error.as_ref().map(|error| PgError::from_json(&error.to_value()));
    match run.status {
        Status::Completed => Ok(run.result),
        Status::Failed => match error {
            Some(error) => guard::throw(PgError {
                context: Some(match error.context {
                    Some(context) => format!("{context}\nworkflow \"{}\" instance \"{id}\"", run.workflow),
                    None => format!("workflow \"{}\" instance \"{id}\"", run.workflow),
                }),
                ..error
            }),
            None => Ok(None),
        },
        Status::Cancelled => {
            let reason = error.and_then(|error| error.detail);
            let reason = reason.and_then(|text| Some(text.strip_prefix("Reason: ")?.strip_suffix('.')?.to_owned()));
            Err(Error::InstanceCancelled {
                id: id.to_owned(),
                reason,
            })
        }
        Status::Pending | Status::Running | Status::Waiting | Status::Compensating | Status::Continued => {
            Err(not_ended(
                id,
                &run,
                "Wait for it with wf_result(id, wait => '10 s'), or ask wf_status(id).",
            ))
        }
    }
}

fn not_ended(id: &str, run: &Found, hint: &'static str) -> Error {
    let hint = if slots::available() {
        hint
    } else {
        "No background worker runs: see wf_health(), or CALL wf_run_pending()."
    };
    let pause = scope::as_engine(|| pauses::of_run(run.run_id));
    let detail = match pause.as_ref().or(run.waiting_for.as_ref()) {
        Some(waiting) => format!("It waits for {waiting}."),
        None => format!("Its status is {}.", run.status.name()),
    };
    Error::NotEnded {
        id: id.to_owned(),
        detail,
        hint,
    }
}
