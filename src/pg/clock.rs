//! The time, which may be a simulated one.

use std::cell::Cell;

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

/// Has the clock of this process stand at `at`; `None`: go on as the world's does.
pub(crate) fn simulate(at: Option<Timestamp>) {
    SIMULATED.set(at);
}

/// True while the clock of this process stands where it was set.
pub(crate) fn is_simulated() -> bool {
    SIMULATED.get().is_some()
}
