//! Removing what has ended: runs with all that belongs to them, and versions of code that no run needs any more.

use crate::engine::{authority, code};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::{Interval, RunId, clock, errdata, fault, scope, txn};
use crate::store::{definitions, versions};

/// Removes up to `max` runs that ended longer ago than `older_than`; returns how many.
pub(crate) fn purge(older_than: Interval, workflow: Option<&str>, max: i32) -> Result<i32, Error> {
    if older_than.micros() < 0 {
        return Err(Error::WrongArgument {
            name: "older_than",
            expected: "an interval that is not negative".to_owned(),
        });
    }
    if max < 1 {
        return Err(Error::WrongArgument {
            name: "max",
            expected: "positive".to_owned(),
        });
    }
    // What others commit meanwhile has to be seen: a run started behind one that is about to go, or on a version that is.
    if txn::one_snapshot() {
        return Err(Error::OneSnapshot("wf_purge"));
    }
    let caller = scope::current_user();
    let before = clock().saturating_sub(older_than.micros());
    Ok(scope::as_engine(|| {
        if workflow.is_some_and(|name| !versions::is_known(name)) {
            return 0;
        }
        let all = authority::operates_all(caller);
        let locked = versions::lock_finished(caller, all, workflow, before, max);
        if !locked.is_empty() {
            hints::holding();
        }
        let removed = versions::remove(&locked);
        fault("purged");
        // Once for all batches.
        if locked.len() < max as usize {
            forget_versions();
        }
        removed
    }))
}

/// Removes one run that has ended, if the caller may and nobody is at it.
pub(crate) fn forget(run: RunId) -> Result<bool, Error> {
    if txn::one_snapshot() {
        return Err(Error::OneSnapshot("wf.forget_run"));
    }
    let caller = scope::current_user();
    Ok(scope::as_engine(|| {
        let locked = versions::lock_ended(caller, authority::operates_all(caller), run);
        if !locked.is_empty() {
            hints::holding();
        }
        versions::remove(&locked) > 0
    }))
}

/// Removes old versions that no run is on.
///
/// A start that is not committed cannot be seen, and may be on such a version. If it found it in the table, it holds a lock
/// on it. If it remembered it from an earlier start, it began before the function was replaced: so first the version is
/// retired, with a list of the transactions that run then, and it goes when these have ended. A retired one is not found
/// again, even if the old code is put back.
pub(crate) fn forget_versions() {
    for old in versions::old() {
        // Whether it is used may take a look at all runs, where it is not.
        if old.in_doubt || (!old.retired && versions::is_used(&old)) {
            continue;
        }
        // The look at the function comes behind the lock: who remembers the version now had it before the function changed.
        let Some(definition) = versions::lock(&old).then(|| definitions::get(old.def_id)).flatten() else {
            continue;
        };
        let is_current = code::is_current(&definition);
        if !is_current && !old.retired && versions::retire(&old) {
            continue;
        }
        if is_current || versions::is_used(&old) {
            versions::revive(&old);
            continue;
        }
        // A user's object may depend on the restored function: then the version stays.
        let forgotten = txn::subtransaction(|| {
            if !versions::delete(old.def_id) {
                code::forget(&definition);
            }
        });
        if let Err(error) = forgotten {
            errdata::log(error);
        }
    }
}
