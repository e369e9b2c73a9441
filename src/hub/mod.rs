//! What the processes of the server share: who runs, who waits, who is to be woken, and by which commit.
//! Lies between `pg` and the engine; absent (all calls do nothing) if the library was not preloaded.

pub(crate) mod databases;
pub(crate) mod hands;
pub(crate) mod hints;
pub(crate) mod metrics;
pub(crate) mod moved;
pub(crate) mod pauses;
pub(crate) mod pollers;
pub(crate) mod results;
pub(crate) mod slots;
pub(crate) mod state;
pub(crate) mod wal;

/// Asks for all shared memory.
pub(crate) fn request() {
    state::request();
    metrics::request();
}

/// Sets it up.
pub(crate) fn startup() {
    hands::startup();
    moved::startup();
    state::startup();
    metrics::startup();
}
