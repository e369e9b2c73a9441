//! Values and streams that runs publish: read from outside, and waited for.

use crate::engine::authority::{self, Access};
use crate::engine::observe::UNREGISTERED_PAUSE;
use crate::error::Error;
use crate::hub::{hints, results};
use crate::pg::clock::steady;
use crate::pg::{Interval, Json, RunId, guard, latch, scope, txn};
use crate::store::runs;
use crate::store::streams::{self, Emitted};

/// The value published under `name`, as soon as it is another than `known`. `None`: not in time, or never.
pub(crate) fn wait_value(id: &str, name: &str, wait: Interval, known: Option<&Json>) -> Result<Option<Json>, Error> {
    watch(id, wait, |run| {
        runs::published(run, name).filter(|value| Some(value) != known)
    })
}

/// What was emitted under `name` behind a position; waits for the first if there is none.
pub(crate) fn read_stream(id: &str, name: &str, after: i64, wait: Interval) -> Result<Vec<Emitted>, Error> {
    let found = watch(id, wait, |run| {
        Some(streams::read(run, name, after)).filter(|entries| !entries.is_empty())
    });
    Ok(found?.unwrap_or_default())
}

/// What `look` finds in the open or last run of an id, as soon as it finds something; `None` if the run has ended, or the
/// time is over, without.
fn watch<T>(id: &str, wait: Interval, look: impl Fn(RunId) -> Option<T>) -> Result<Option<T>, Error> {
    let caller = scope::current_user();
    let until = steady().saturating_add(wait.micros().max(0));
    // The status comes first: all that a run has published is there once it has ended.
    let now = || {
        scope::as_engine(|| {
            let run = authority::find(id, caller, Access::See)?;
            Ok::<_, Error>((look(run.run_id), run))
        })
    };
    let (found, run) = now()?;
    if found.is_some() || !run.status.is_open() || wait.micros() <= 0 {
        return Ok(found);
    }
    let cannot = |detail, hint| Error::CannotWait {
        id: id.to_owned(),
        detail,
        hint,
    };
    if hints::started_here(run.run_id) {
        return Err(cannot(
            "This transaction has started it, and it does not run before the commit.",
            "Commit the transaction first.",
        ));
    }
    if txn::one_snapshot() {
        return Err(cannot(
            "Under this isolation level nothing is seen that is published from now on.",
            "Wait in a READ COMMITTED transaction.",
        ));
    }
    let found = guard::catch(|| {
        // The run that this process is announced for, and whether it will be woken.
        let mut place = None;
        loop {
            let (found, run) = now()?;
            let rest = until - steady();
            if found.is_some() || rest <= 0 {
                return Ok(found);
            }
            match place {
                Some((announced, woken)) if announced == run.run_id => {
                    if !run.status.is_open() {
                        return Ok(None);
                    }
                    latch::wait(Some(if woken { rest } else { rest.min(UNREGISTERED_PAUSE) }));
                }
                // Announced first, then looked once more: the next run of the id may have taken over.
                _ => {
                    results::stop_waiting();
                    let woken = !txn::in_recovery() && results::wait_for_values(run.run_id);
                    place = Some((run.run_id, woken));
                }
            }
        }
    });
    results::stop_waiting();
    found.unwrap_or_else(|error| guard::throw(error))
}
