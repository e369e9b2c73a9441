//! The time, which may be a simulated one; and a clock that nobody sets.

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::Instant;

use pgrx::pg_sys;

use super::value::Timestamp;

thread_local! {
    static SIMULATED: Cell<Option<Timestamp>> = const { Cell::new(None) };
    static LOWEST: Cell<Timestamp> = const { Cell::new(Timestamp::MAX) };
}

/// The clock, not the transaction's start: a batch works through many instances in one transaction.
pub(crate) fn clock() -> Timestamp {
    SIMULATED.get().unwrap_or_else(|| {
        // SAFETY: reads the clock.
        let now = unsafe { pg_sys::GetCurrentTimestamp() };
        LOWEST.set(LOWEST.get().min(now));
        now
    })
}

/// The least that [`clock`] has been in this process since [`reset_lowest`].
pub(crate) fn lowest() -> Timestamp {
    LOWEST.get()
}

pub(crate) fn reset_lowest() {
    LOWEST.set(Timestamp::MAX);
}

/// Microseconds of a clock that nobody sets, since some moment in the life of this process: for lengths of time, and for pauses that
/// have an end whatever happens to the time of day.
pub(crate) type Steady = i64;

pub(crate) fn steady() -> Steady {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    i64::try_from(BEGAN.elapsed().as_micros()).unwrap_or(Steady::MAX)
}

/// What the clock will show at `at`, unless it is set.
pub(crate) fn when(at: Steady) -> Timestamp {
    clock().saturating_add(at.saturating_sub(steady()))
}

/// Has the clock of this process stand at `at`; `None`: go on as the world's does.
pub(crate) fn simulate(at: Option<Timestamp>) {
    SIMULATED.set(at);
}

/// True while the clock of this process stands where it was set.
pub(crate) fn is_simulated() -> bool {
    SIMULATED.get().is_some()
}
