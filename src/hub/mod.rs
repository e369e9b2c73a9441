//! What the processes of the server share: who runs, who waits, who is to be woken, and by which commit.
//! Lies between `pg` and the engine; absent (all calls do nothing) if the library was not preloaded.

pub(crate) mod databases;
pub(crate) mod hints;
pub(crate) mod pauses;
pub(crate) mod pollers;
pub(crate) mod results;
pub(crate) mod slots;
pub(crate) mod state;
pub(crate) mod wal;
