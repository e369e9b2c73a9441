//! A single step of a paused instance, in the caller's session and transaction.

use std::rc::Rc;

use serde_json::json;

use crate::engine::actions::{self, Subject};
use crate::engine::recall::Recall;
use crate::engine::send::find;
use crate::engine::target;
use crate::engine::turn::{self, End, Terms};
use crate::error::Error;
use crate::hub::{hints, slots};
use crate::pg::fmgr::role_name;
use crate::pg::{Json, guard, process, scope};
use crate::store::runs::{self, Brief};
use crate::store::steps::{self, StepRow};
use crate::store::{home, operations, pauses, ready};

/// Takes one step of the open run of an id; returns what it was.
///
/// # Errors
/// Unwinds with what stops this session in the middle of the step: a cancelled statement, a timeout.
pub(crate) fn step(id: &str) -> Result<Json, Error> {
    let caller = scope::current_user();
    let run = scope::as_engine(|| find(id, caller))?;
    if caller != run.owner || !scope::is_session_user(caller) {
        return Err(Error::NotConnectedAs {
            function: "wf_step of a paused instance",
            role: role_name(run.owner),
        });
    }
    slots::register(slots::Kind::Session, caller);
    let result = guard::catch(|| scope::as_engine(|| advance(id, &run)));
    slots::release();
    result.unwrap_or_else(|error| guard::throw(error))
}

/// New versions of functions that may have to be made before there is a step.
const TRIES: u32 = 3;

fn advance(id: &str, found: &Brief) -> Result<Json, Error> {
    if !home::is_here() {
        return Err(Error::NotHome);
    }
    let run_id = found.run_id;
    if found.status.is_open() {
        if pauses::of_run(run_id).is_none() {
            return Err(Error::NotPaused(id.to_owned()));
        }
        // Not to be waited for: its step may take long. Anybody else has the run for a moment only.
        if slots::list(process::my_database())
            .iter()
            .any(|slot| slot.run == Some(run_id))
        {
            return Err(Error::Busy(id.to_owned()));
        }
    }
    hints::holding();
    operations::wait_lock(run_id);
    let before = steps::load(run_id);
    for _ in 0..TRIES {
        let run = runs::lock(&vec![run_id]).pop();
        let Some(run) = run.filter(|run| run.status.is_open()) else {
            return Err(Error::InstanceEnded {
                id: id.to_owned(),
                status: find(id, found.owner)?.status.name().to_owned(),
            });
        };
        let priority = i32::from(run.priority);
        target::sweep();
        let terms = Terms {
            alone: true,
            until: None,
            in_place: false,
            careful: false,
            forced: None,
            steps: 0,
            ticket: None,
            single: true,
        };
        let ended = scope::with_memory(|| turn::take(run, terms, &Rc::new(Recall::default())));
        if ended.end != End::Settled {
            // There is more to do, once it is resumed.
            ready::insert(found.owner, priority, run_id);
            hints::ready(found.owner);
        }
        if ended.end == End::Settled || changed(&before, &steps::load(run_id)).is_some() {
            break;
        }
    }
    pauses::forget_ended(run_id);
    let after = steps::load(run_id);
    let call = changed(&before, &after);
    let subject = Subject {
        run_id,
        id,
        owner: found.owner,
    };
    let detail = json!({ "n": call.map(|row| row.n), "step": call.map(|row| &row.name) });
    actions::record("step", found.owner, Some(subject), None, Some(&detail));
    let run = runs::by_id(id).ok_or_else(|| Error::UnknownInstance(id.to_owned()))?;
    let call = call.map_or_else(Json::null, describe);
    let told = json!({ "status": run.status.name(), "waiting_for": run.waiting_for });
    Ok(Json::object(&[
        ("call", Some(call.to_text())),
        ("result", Some(plain(&run.result))),
        ("error", Some(plain(&run.error))),
    ])
    .merge(&Json::from_value(&told)))
}

/// The last call that is new, or has changed.
fn changed<'a>(before: &[StepRow], after: &'a [StepRow]) -> Option<&'a StepRow> {
    let same = |a: &StepRow, b: &StepRow| a.status == b.status && a.attempt == b.attempt;
    after
        .iter()
        .enumerate()
        .rev()
        .find(|(position, row)| !before.get(*position).is_some_and(|old| same(old, row)))
        .map(|(_, row)| row)
}

/// A user's value as it is.
fn plain(value: &Option<Json>) -> String {
    value.as_ref().map_or_else(|| "null".to_owned(), Json::to_text)
}

fn describe(row: &StepRow) -> Json {
    let told = json!({
        "n": row.n,
        "kind": row.kind.name(),
        "name": row.name,
        "status": row.status.name(),
        "attempt": row.attempt,
    });
    Json::object(&[("result", Some(plain(&row.result))), ("error", Some(plain(&row.error)))])
        .merge(&Json::from_value(&told))
}
