//! Sending something to a run: signals and cancels. Both insert a row and a hint, and never wait for the run.

use crate::engine::start::{check_access, check_text};
use crate::engine::step;
use crate::error::Error;
use crate::hub::hints;
use crate::pg::{Json, Oid, clock, scope};
use crate::store::runs::{self, Found};
use crate::store::{inbox, ready};

const MAX_NAME: usize = 1024;

/// The open or last run of an id that the caller may control. As the engine.
pub(crate) fn find(id: &str, caller: Oid) -> Result<Found, Error> {
    let run = runs::by_id(id).ok_or_else(|| Error::UnknownInstance(id.to_owned()))?;
    check_access(id, &run, caller)?;
    Ok(run)
}

/// Keeps a signal for the open run of an id; false if its key was sent before.
pub(crate) fn signal(id: &str, name: &str, payload: &Json, key: Option<&str>) -> Result<bool, Error> {
    check_text("name", name, MAX_NAME)?;
    if let Some(key) = key {
        check_text("key", key, MAX_NAME)?;
    }
    step::check_size(Some(payload), || format!("payload of signal \"{name}\""))?;
    let caller = scope::current_user();
    scope::as_engine(|| {
        let run = find(id, caller)?;
        if !run.status.is_open() {
            return Err(Error::InstanceEnded {
                id: id.to_owned(),
                status: run.status.name().to_owned(),
            });
        }
        let new = inbox::send(run.run_id, name, payload, key, clock(), caller);
        if new {
            wake(&run);
        }
        Ok(new)
    })
}

/// Asks for the end of the open run of an id; false if it has ended already.
pub(crate) fn cancel(id: &str, reason: Option<&str>) -> Result<bool, Error> {
    let caller = scope::current_user();
    scope::as_engine(|| {
        let run = find(id, caller)?;
        if !run.status.is_open() {
            return Ok(false);
        }
        inbox::ask(run.run_id, inbox::Action::Cancel, reason, clock(), caller);
        hints::cancelled(run.run_id);
        wake(&run);
        Ok(true)
    })
}

fn wake(run: &Found) {
    ready::insert(run.owner, i32::from(run.priority), run.run_id);
    hints::ready(run.owner);
}
