//! Messages below ERROR that user code raises, captured as they are raised.
//!
//! Postgres shows `emit_log_hook` only what is to go to the server's log, and drops a message before it is even put together
//! if neither the log nor a client wants it. So while something is captured the variable behind `log_min_messages` is
//! lowered (directly, as `scope` does with the planner's), and the hook keeps out of the log what would not have been there.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;

use pgrx::pg_sys;

use super::clock;
use super::value::Timestamp;

/// A message that was raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) at: Timestamp,
    pub(crate) severity: &'static str,
    pub(crate) sqlstate: i32,
    pub(crate) text: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    pub(crate) context: Option<String>,
}

/// What was captured.
#[derive(Default)]
pub(crate) struct Captured {
    pub(crate) messages: Vec<Message>,
    /// How many more there were.
    pub(crate) refused: u64,
}

struct Capture {
    least: i32,
    limit: usize,
    /// `log_min_messages` as the session has it, and as it is meanwhile.
    wanted: i32,
    lowered: i32,
    captured: Captured,
}

thread_local! {
    static CAPTURE: RefCell<Option<Capture>> = const { RefCell::new(None) };
    static NEXT: Cell<pg_sys::emit_log_hook_type> = const { Cell::new(None) };
}

pub(crate) const DEBUG: i32 = pg_sys::DEBUG1 as i32;
pub(crate) const LOG: i32 = pg_sys::LOG as i32;
const LOG_SERVER_ONLY: i32 = pg_sys::LOG_SERVER_ONLY as i32;
const INFO: i32 = pg_sys::INFO as i32;
pub(crate) const NOTICE: i32 = pg_sys::NOTICE as i32;
pub(crate) const WARNING: i32 = pg_sys::WARNING as i32;
const FATAL: i32 = pgrx::PgLogLevel::FATAL as i32;
const ERROR: i32 = pgrx::PgLogLevel::ERROR as i32;

/// Bytes that are kept of a message, and of each of its other texts.
const LENGTH: usize = 8192;

/// Installs the hook; from `_PG_init`, once a process (inherited by fork).
pub(crate) fn init() {
    // SAFETY: the hook that was there is called in turn.
    unsafe {
        NEXT.set(pg_sys::emit_log_hook);
        pg_sys::emit_log_hook = Some(hook);
    }
}

/// Runs `f` and returns with its result up to `limit` messages of at least the level `least` that were raised in it. INFO is
/// always among them, as it is for clients. What `f` unwinds with passes, and what was captured is lost.
pub(crate) fn capture<T>(least: i32, limit: usize, f: impl FnOnce() -> T) -> (T, Captured) {
    struct Guard {
        outer: Option<Capture>,
        wanted: i32,
    }
    impl Drop for Guard {
        fn drop(&mut self) {
            CAPTURE.set(self.outer.take());
            // SAFETY: a process-local variable.
            unsafe { pg_sys::log_min_messages = self.wanted };
        }
    }
    // SAFETY: a process-local variable.
    let wanted = unsafe { pg_sys::log_min_messages };
    let lowered = match least {
        WARNING | NOTICE => INFO,
        least => least,
    };
    // Two levels are out of line: a least level of LOG lets FATAL pass only.
    let lowered = if wanted == LOG { lowered } else { lowered.min(wanted) };
    let lowered = if lowered == LOG { DEBUG } else { lowered };
    let outer = CAPTURE.replace(Some(Capture {
        least,
        limit,
        wanted,
        lowered,
        captured: Captured::default(),
    }));
    let guard = Guard { outer, wanted };
    // SAFETY: put back by the guard.
    unsafe { pg_sys::log_min_messages = lowered };
    let value = f();
    let captured = CAPTURE.take().map(|capture| capture.captured).unwrap_or_default();
    drop(guard);
    (value, captured)
}

/// Must not fail, and raises nothing.
unsafe extern "C-unwind" fn hook(error: *mut pg_sys::ErrorData) {
    // SAFETY: Postgres' record of the message that is being emitted, ours to read and to keep out of the log.
    unsafe {
        let kept_out = CAPTURE
            .try_with(|capture| {
                let mut capture = capture.try_borrow_mut().ok()?;
                let capture = capture.as_mut()?;
                let level = (*error).elevel;
                if level < ERROR && level != LOG_SERVER_ONLY && (level >= capture.least || level == INFO) {
                    note(&mut capture.captured, capture.limit, &*error);
                }
                // What the code has SET meanwhile holds.
                let current = pg_sys::log_min_messages;
                let wanted = if current == capture.lowered {
                    capture.wanted
                } else {
                    current
                };
                Some(!goes_to_log(level, wanted))
            })
            .ok()
            .flatten()
            .unwrap_or(false);
        if kept_out {
            (*error).output_to_server = false;
        } else if let Some(next) = NEXT.get() {
            next(error);
        }
    }
}

/// As `is_log_level_output()` of elog.c.
fn goes_to_log(level: i32, least: i32) -> bool {
    match (level, least) {
        (LOG | LOG_SERVER_ONLY, _) => least == LOG || least <= ERROR,
        (_, LOG) => level >= FATAL,
        _ => level >= least,
    }
}

/// # Safety
/// A record whose strings are NULL or NUL-terminated.
unsafe fn note(captured: &mut Captured, limit: usize, error: &pg_sys::ErrorData) {
    if captured.messages.len() >= limit {
        captured.refused += 1;
        return;
    }
    let text = |pointer: *const core::ffi::c_char| {
        // SAFETY: as above.
        (!pointer.is_null()).then(|| cut(&unsafe { CStr::from_ptr(pointer) }.to_string_lossy()))
    };
    captured.messages.push(Message {
        at: clock(),
        severity: match error.elevel {
            WARNING => "WARNING",
            NOTICE => "NOTICE",
            INFO => "INFO",
            LOG => "LOG",
            _ => "DEBUG",
        },
        sqlstate: error.sqlerrcode,
        text: text(error.message).unwrap_or_default(),
        detail: text(error.detail),
        hint: text(error.hint),
        context: text(error.context),
    });
}

/// The beginning of a text that is too long.
fn cut(text: &str) -> String {
    if text.len() <= LENGTH {
        return text.to_owned();
    }
    let mut end = LENGTH - 3;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}
