//! The time, which may be a simulated one; and a clock that nobody sets.

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::Instant;

use pgrx::pg_sys;

use super::value::Timestamp;

thread_local! {
    static SIMULATED: Cell<Option<Timestamp>> = const { Cell::new(None) };
}

/// The clock, not the transaction's start: a batch works through many instances in one transaction.
pub(crate) fn clock() -> Timestamp {
    // SAFETY: reads the clock.
    SIMULATED
        .get()
        .unwrap_or_else(|| unsafe { pg_sys::GetCurrentTimestamp() })
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
