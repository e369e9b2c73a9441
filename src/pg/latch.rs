//! Sleeping and waking.

use pgrx::pg_sys;

use super::clock::{clock, steady};
use super::value::Timestamp;

/// Address of a process' latch in shared memory: the same in every process of the server. Setting the latch of a
/// process that has gone wakes its successor in the slot for nothing, and does no other harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LatchRef(usize);

impl LatchRef {
    pub(crate) const NONE: Self = Self(0);

    /// The latch of this process.
    pub(crate) fn mine() -> Self {
        // SAFETY: set up by Postgres before any of our code runs.
        Self(unsafe { pg_sys::MyLatch } as usize)
    }

    pub(crate) fn set(self) {
        if self.0 != 0 {
            // SAFETY: latches live in shared memory as long as the server.
            unsafe { pg_sys::SetLatch(self.0 as *mut pg_sys::Latch) };
        }
    }
}

/// As [`wait`], until the clock says `at` (`None`: no limit). The clock may be set meanwhile, which does not end a sleep. Forward: so
/// it is looked at every half minute. Back: so the sleep is no longer than it was to be, and `at` may be still to come.
pub(crate) fn wait_until(at: Option<Timestamp>) {
    const SLICE: i64 = 30_000_000;
    let Some(at) = at else {
        wait(None);
        return;
    };
    let end = steady().saturating_add(at.saturating_sub(clock()));
    loop {
        let rest = at.saturating_sub(clock()).min(end.saturating_sub(steady()));
        if wait(Some(rest.min(SLICE))) || rest <= SLICE {
            return;
        }
    }
}

/// Sleeps until the latch is set or `micros` have passed (`None`: no limit) and resets the latch; true if it was set.
/// If the postmaster dies the process exits at once: an orphan would block the server's restart.
pub(crate) fn wait(micros: Option<i64>) -> bool {
    let mut events = pg_sys::WL_LATCH_SET | pg_sys::WL_EXIT_ON_PM_DEATH;
    let mut millis = -1;
    if let Some(micros) = micros {
        events |= pg_sys::WL_TIMEOUT;
        // Rounded up, or a timer due in half a millisecond would spin.
        millis = (micros.max(0) / 1000 + 1).min(i64::from(i32::MAX));
    }
    // SAFETY: our own latch.
    let woken = unsafe {
        let woken = pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, millis, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
        woken
    };
    super::txn::check_for_interrupts();
    woken & pg_sys::WL_LATCH_SET as i32 != 0
}
