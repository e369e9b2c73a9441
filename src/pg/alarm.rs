//! A timer of this process by a clock that nobody sets. Those of Postgres go by the time of day: behind a clock that is set back
//! they fire as much later.
//!
//! The kernel's timer stays as it is when it comes too early, or for nothing: a signal now and then costs less than to set it
//! anew for each step.

use core::ffi::c_int;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

use super::clock::{Steady, steady};
use super::errdata::{PgError, pack};
use super::{guard, interrupt};

const NEVER: Steady = Steady::MAX;

/// When the alarm is to go off.
static DUE: AtomicI64 = AtomicI64::new(NEVER);

/// When the kernel's timer does.
static SET: AtomicI64 = AtomicI64::new(NEVER);

static TIMER: AtomicPtr<libc::c_void> = AtomicPtr::new(null_mut());

/// Goes off when `micros` have passed, in the place of what was set before.
///
/// # Errors
/// Unwinds with 53000 if the kernel has no timer left.
pub(super) fn set(micros: i64) {
    if TIMER.load(Ordering::Relaxed).is_null() {
        TIMER.store(create(), Ordering::Relaxed);
    }
    let due = steady().saturating_add(micros.max(1));
    DUE.store(due, Ordering::Relaxed);
    if due < SET.load(Ordering::Relaxed) {
        set_kernel(due);
    }
}

pub(super) fn clear() {
    DUE.store(NEVER, Ordering::Relaxed);
}

fn set_kernel(due: Steady) {
    SET.store(due, Ordering::Relaxed);
    let rest = due.saturating_sub(steady()).max(1);
    let at = libc::itimerspec {
        it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: libc::timespec {
            tv_sec: rest / 1_000_000,
            tv_nsec: rest % 1_000_000 * 1000,
        },
    };
    // SAFETY: a timer of this process; the call may be made in a signal handler.
    unsafe { libc::timer_settime(TIMER.load(Ordering::Relaxed), 0, &raw const at, null_mut()) };
}

/// As a signal handler. One that comes in the middle of [`set`] finds what that has stored, and at worst sets the same again.
unsafe extern "C" fn on_signal(_: c_int) {
    SET.store(NEVER, Ordering::Relaxed);
    let due = DUE.load(Ordering::Relaxed);
    if due == NEVER {
        return;
    }
    // SAFETY: errno belongs to what was interrupted.
    let errno = unsafe { *libc::__errno_location() };
    if steady() < due {
        set_kernel(due);
    } else {
        clear();
        interrupt::on_alarm();
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// A timer that signals this thread, the one that runs Postgres: code in other languages may have others.
fn create() -> libc::timer_t {
    // Postgres uses none of these; the first ones are often taken.
    let signal = libc::SIGRTMIN() + 7;
    let mut timer = null_mut();
    // SAFETY: plain structures, of which all zeros are a value; the handler is set before anything can signal.
    let failed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        event.sigev_notify_thread_id = libc::gettid();
        libc::sigaction(signal, &raw const action, null_mut()) != 0
            || libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) != 0
    };
    if failed {
        let why = std::io::Error::last_os_error();
        guard::throw(PgError::new(
            pack(*b"53000"),
            format!("could not create a timer: {why}"),
        ));
    }
    timer
}
