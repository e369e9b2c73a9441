//! How much WAL the workers of a database have written since the server was started.

use std::cell::Cell;

use super::state::STATE;
use crate::pg::{Oid, process};

/// Adds what this process has written since it last did.
pub(crate) fn count() {
    thread_local! {
        static COUNTED: Cell<u64> = const { Cell::new(0) };
    }
    let written = process::wal_bytes();
    let more = written.saturating_sub(COUNTED.replace(written));
    let database = process::my_database();
    STATE.with(|state| {
        let own = state.wal.iter_mut().find(|(d, _)| *d == database || *d == Oid::INVALID);
        if let Some(place) = own {
            *place = (database, place.1 + more);
        }
    });
}

/// Bytes; `None` without shared memory.
pub(crate) fn of(database: Oid) -> Option<u64> {
    STATE.with(|state| {
        let own = state.wal.iter().find(|(d, _)| *d == database);
        own.map_or(0, |(_, bytes)| *bytes)
    })
}
