//! How far timers have been moved to the queue of ready runs, by the clock. To whom the clock shows less, it has been set back
//! since: a run whose timer has gone may find that it is not time yet, and the timer is to be set again (see
//! [`crate::engine::batch`]).
//!
//! Of all databases together: they have one clock. Kept as it is through a crash.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::pg::Timestamp;
use crate::pg::shared::Lasting;

static MOVED: Lasting<AtomicI64> = Lasting::new();

pub(super) fn startup() {
    MOVED.startup();
}

/// What is due by now is moved, or was before. To be called before anybody can see it.
pub(crate) fn note(now: Timestamp) {
    if let Some(moved) = MOVED.get() {
        moved.fetch_max(now, Ordering::Relaxed);
    }
}

/// No timer has been moved that was due later than this.
pub(crate) fn until() -> Timestamp {
    MOVED
        .get()
        .map_or(Timestamp::MAX, |moved| moved.load(Ordering::Relaxed))
}
