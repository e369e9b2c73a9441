//! The two borders between Rust and Postgres' `longjmp`.
//!
//! Inward, [`protect`] calls a C function and turns an ERROR into a Rust unwind that carries a [`PgError`] with
//! nothing lost (raw SQLSTATE included). Outward, [`entry`] runs the body of a SQL function and turns whatever
//! unwinds out of it into an ERROR, raised from a frame that has nothing left to drop.

use std::any::Any;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use cee_scape::{SigJmpBufFields, call_with_sigsetjmp};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport, ErrorReportWithLevel};

use super::errdata::{self, PgError};
use crate::error::Error;

/// Calls `f`, which does nothing but call a Postgres function directly, and returns its result.
///
/// # Panics
/// An ERROR unwinds with a [`PgError`] as payload. `resume_unwind` and not `panic!`: an ERROR is no bug, and the panic
/// hook would capture a backtrace for each.
///
/// # Safety
/// `f` must not own anything with a destructor and must not panic: `longjmp` passes over it.
pub(super) unsafe fn protect<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: the same contract.
    match unsafe { attempt(f) } {
        Ok(value) => value,
        Err(error) => resume_unwind(Box::new(error)),
    }
}

/// As [`protect`], with the ERROR as a value. Without a subtransaction around it the caller must raise some error in
/// its place: the transaction may hold half of what `f` did.
///
/// # Safety
/// As for [`protect`].
pub(super) unsafe fn attempt<T>(f: impl FnOnce() -> T) -> Result<T, PgError> {
    // SAFETY: the PG_TRY pattern; the stacks are put back before anything else happens.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let exception_stack = pg_sys::PG_exception_stack;
        let error_context = pg_sys::error_context_stack;
        let mut result = MaybeUninit::uninit();
        let jumped = call_with_sigsetjmp(false, |buffer: &SigJmpBufFields| {
            pg_sys::PG_exception_stack = std::ptr::from_ref(buffer).cast_mut().cast();
            result.write(f());
            0
        });
        pg_sys::PG_exception_stack = exception_stack;
        pg_sys::error_context_stack = error_context;
        if jumped == 0 {
            return Ok(result.assume_init());
        }
        // errfinish left us in ErrorContext, which CopyErrorData refuses to copy into.
        pg_sys::CurrentMemoryContext = context;
        let data = pg_sys::CopyErrorData();
        pg_sys::FlushErrorState();
        let error = PgError::from_error_data(&*data);
        pg_sys::FreeErrorData(data);
        Err(error)
    }
}

/// Runs `f` and returns what unwound out of it as an error.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, PgError> {
    catch_unwind(AssertUnwindSafe(f)).map_err(from_payload)
}

/// Unwinds with `error` towards the next [`catch`], subtransaction or [`entry`].
pub(crate) fn throw(error: PgError) -> ! {
    resume_unwind(Box::new(error))
}

/// The frame of every function that Postgres calls: `f`'s error, or whatever unwinds out of it, becomes an ERROR.
pub(crate) fn entry<T>(f: impl FnOnce() -> Result<T, Error>) -> T {
    let error = match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => return value,
        Ok(Err(error)) => error.into(),
        Err(payload) => from_payload(payload),
    };
    errdata::raise(error)
}

/// Any unwind's payload as an error: ours, pgrx's own kinds, or a plain panic (an internal error).
fn from_payload(payload: Box<dyn Any + Send>) -> PgError {
    let payload = match payload.downcast::<PgError>() {
        Ok(error) => return *error,
        Err(payload) => payload,
    };
    let payload = match payload.downcast::<CaughtError>() {
        Ok(caught) => {
            return match *caught {
                CaughtError::PostgresError(report)
                | CaughtError::ErrorReport(report)
                | CaughtError::RustPanic { ereport: report, .. } => from_report(&report),
            };
        }
        Err(payload) => payload,
    };
    let payload = match payload.downcast::<ErrorReportWithLevel>() {
        Ok(report) => return from_report(&report),
        Err(payload) => payload,
    };
    if let Some(report) = payload.downcast_ref::<ErrorReport>() {
        return PgError::new(errdata::INTERNAL_ERROR, report.message().to_owned());
    }
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown panic".to_owned());
    PgError::new(errdata::INTERNAL_ERROR, format!("internal error: {text}"))
}

fn from_report(report: &ErrorReportWithLevel) -> PgError {
    // detail() and not detail_with_backtrace(): a user must never see a Rust backtrace.
    PgError {
        sqlstate: report.sql_error_code() as i32,
        message: report.message().to_owned(),
        detail: report.detail().map(str::to_owned),
        hint: report.hint().map(str::to_owned),
        context: None,
    }
}
