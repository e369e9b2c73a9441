//! `cache`: results of steps, by owner and key.

use super::statement;
use crate::pg::{Json, Oid, Timestamp};

statement!(FIND, "cache_find", OID, TEXT, TIMESTAMPTZ);
statement!(LOCK, "cache_lock", OID, TEXT);
statement!(STORE, "cache_store", OID, TEXT, JSONB, TIMESTAMPTZ, TIMESTAMPTZ);
statement!(SWEEP, "cache_sweep", OID, TIMESTAMPTZ, INT4);
statement!(FORGET_LOCK, "cache_forget_lock", OID);
statement!(FORGET, "cache_forget", OID, TEXT);
statement!(FORGET_ALL, "cache_forget_all", OID);

/// A result, and when it was stored.
pub(crate) fn find(owner: Oid, key: &str, now: Timestamp) -> Option<(Option<Json>, Timestamp)> {
    FIND.first(&[&owner, &key, &now], |row| (row.get(0), row.need(1)))
}

/// Leave to write an entry in this transaction; false if another is about it.
pub(crate) fn lock(owner: Oid, key: &str) -> bool {
    LOCK.first(&[&owner, &key], |row| row.need(0)).unwrap_or(false)
}

/// Writes an entry. Behind [`lock`].
pub(crate) fn store(owner: Oid, key: &str, result: Option<&Json>, now: Timestamp, expires_at: Option<Timestamp>) {
    STORE.run(&[&owner, &key, &result, &now, &expires_at]);
}

/// Removes up to `count` expired entries of a role. Behind [`lock`].
pub(crate) fn sweep(owner: Oid, now: Timestamp, count: i32) {
    SWEEP.run(&[&owner, &now, &count]);
}

/// Removes an entry of a role, or all; returns how many there were.
pub(crate) fn forget(owner: Oid, key: Option<&str>) -> i64 {
    FORGET_LOCK.run(&[&owner]);
    let count = match key {
        Some(key) => FORGET.run(&[&owner, &key]),
        None => FORGET_ALL.run(&[&owner]),
    };
    count as i64
}
