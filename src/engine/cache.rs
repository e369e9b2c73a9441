//! Results of steps that later steps of the same owner take for theirs, by a key.
//!
//! An entry is written in the transaction of the step that has made it, and never waited for: of two that make the same at
//! once, both run, and one of them stores what it has.

use serde_json::json;

use crate::engine::step::{Caching, Done};
use crate::pg::value::timestamp_json;
use crate::pg::{Json, Oid, clock, scope};
use crate::store::cache;

/// Expired entries that are removed with each that is written.
const SWEPT: i32 = 10;

/// The last time that a `timestamptz` holds, roughly.
const END: i64 = i64::MAX / 2;

pub(super) fn find(owner: Oid, caching: &Caching) -> Option<Done> {
    let (result, stored_at) = scope::as_engine(|| cache::find(owner, &caching.key, clock()))?;
    let origin = json!({"cached": {"key": caching.key, "stored_at": timestamp_json(stored_at).to_value()}});
    Some(Done {
        result,
        origin: Some(Json::from_value(&origin)),
    })
}

pub(super) fn store(owner: Oid, caching: &Caching, result: Option<&Json>) {
    scope::as_engine(|| {
        if !cache::lock(owner, &caching.key) {
            return;
        }
        let now = clock();
        let expires_at = caching.ttl.map(|ttl| now.saturating_add(ttl)).filter(|at| *at < END);
        cache::store(owner, &caching.key, result, now, expires_at);
        cache::sweep(owner, now, SWEPT);
    });
}

/// Removes an entry of the current user's, or all; returns how many there were.
pub(crate) fn forget(key: Option<&str>) -> i64 {
    let owner = scope::current_user();
    scope::as_engine(|| cache::forget(owner, key))
}
