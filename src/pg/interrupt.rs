//! Ending a piece of user code early: by a timer of ours, by a cancel from another process, by an administrator.
//! All arrive as SQLSTATE 57014; [`fired`] tells the timer's from the others.

use core::ffi::c_int;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_sys;

use super::errdata::{PgError, READ_ONLY_TRANSACTION};
use super::{alarm, raw};

static FIRED: AtomicBool = AtomicBool::new(false);

/// Cancels what runs when `micros` have passed. `statement_timeout` is of no use: workers do not arm it, and in a
/// client's session it is the client's.
pub(crate) fn arm(micros: i64) {
    FIRED.store(false, Ordering::Relaxed);
    alarm::set(micros);
}

/// True if the timer has fired since it was armed. Code that catches query_canceled may have gone on regardless.
pub(crate) fn has_fired() -> bool {
    FIRED.load(Ordering::Relaxed)
}

/// Disarms the timer and tells whether it had fired. A cancel that arrived too late to be noticed is withdrawn, or it
/// would hit the engine's own next statement.
pub(crate) fn disarm() -> bool {
    alarm::clear();
    // SAFETY: a process-local flag that signal handlers set.
    unsafe { pg_sys::QueryCancelPending = 0 };
    FIRED.swap(false, Ordering::Relaxed)
}

thread_local! {
    static SHIELDED: Cell<bool> = const { Cell::new(false) };
}

/// From here on cancels reach user code only in this process, and wait meanwhile: one that comes late must not hit the
/// engine's own work, or a commit. To be called again after an error, which lowers all shields. Termination still gets
/// through.
pub(crate) fn shield() {
    SHIELDED.set(true);
    // SAFETY: the HOLD_CANCEL_INTERRUPTS macro, to a fixed depth.
    unsafe { pg_sys::QueryCancelHoldoffCount = 1 };
}

/// Runs `f` with cancels let through or held back, in a process that has a [`shield`].
pub(crate) fn with_cancels<T>(let_through: bool, f: impl FnOnce() -> T) -> T {
    if !SHIELDED.get() {
        return f();
    }
    // SAFETY: a process-local counter. An ERROR that unwinds sets it to zero, and so does not need it restored.
    unsafe {
        let outer = pg_sys::QueryCancelHoldoffCount;
        pg_sys::QueryCancelHoldoffCount = u32::from(!let_through);
        let value = f();
        pg_sys::QueryCancelHoldoffCount = outer;
        value
    }
}

/// Forgets a cancel that has not been noticed yet.
pub(crate) fn withdraw() {
    // SAFETY: a process-local flag that signal handlers set.
    unsafe { pg_sys::QueryCancelPending = 0 };
}

/// In a signal handler: as Postgres' own for the statement timeout.
pub(super) fn on_alarm() {
    FIRED.store(true, Ordering::Relaxed);
    cancel_soon();
    // SAFETY: a latch of this process.
    unsafe { pg_sys::SetLatch(pg_sys::MyLatch) };
}

/// Makes this process' next look for interrupts raise query_canceled.
pub(crate) fn cancel_soon() {
    // SAFETY: process-local flags that signal handlers set.
    unsafe {
        pg_sys::QueryCancelPending = 1;
        pg_sys::InterruptPending = 1;
    }
}

/// Asks process `pid` to cancel what it runs.
pub(crate) fn cancel_process(pid: i32) {
    // SAFETY: pid is a live worker: its slot is held locked by the caller.
    unsafe { libc_kill(pid, 2) };
}

unsafe extern "C" {
    #[link_name = "kill"]
    fn libc_kill(pid: c_int, signal: c_int) -> c_int;
}

/// Runs `f`; an ERROR "cannot execute ... in a read-only transaction" raised under it gets a hint of what to do. As an
/// error context callback it also reaches errors that the user's own code catches and prints.
pub(crate) fn with_read_only_hint<T>(f: impl FnOnce() -> T) -> T {
    unsafe extern "C-unwind" fn add_hint(_: *mut core::ffi::c_void) {
        // SAFETY: called by errfinish with an error on the stack.
        unsafe {
            if raw::geterrcode() == READ_ONLY_TRANSACTION {
                raw::errhint(
                    c"%s".as_ptr(),
                    c"A workflow writes in its steps only: wrap the statement in wf_step(...).".as_ptr(),
                );
            }
        }
    }
    let mut frame = raw::ErrorContextCallback {
        previous: std::ptr::null_mut(),
        callback: Some(add_hint),
        arg: std::ptr::null_mut(),
    };
    // SAFETY: the frame is taken off the stack before it goes out of scope; on an unwind the boundary that caught the
    // ERROR has restored the stack of its own entry, which is below or at ours.
    unsafe {
        let outer = pg_sys::error_context_stack;
        frame.previous = outer.cast();
        pg_sys::error_context_stack = std::ptr::from_mut(&mut frame).cast();
        let result = super::guard::catch(f);
        pg_sys::error_context_stack = outer;
        result.unwrap_or_else(|error: PgError| super::guard::throw(error))
    }
}
