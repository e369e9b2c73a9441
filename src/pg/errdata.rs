//! A Postgres error as a value: caught, recorded in a row, raised again with the same SQLSTATE.

use std::ffi::{CStr, CString};

use pgrx::{PgLogLevel, pg_sys};

use super::raw;

/// Error with the fields that a user sees and that retry rules look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PgError {
    /// Raw SQLSTATE as Postgres packs it (`MAKE_SQLSTATE`), so that user-defined codes survive.
    pub(crate) sqlstate: i32,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    /// Where it happened, as PL handlers put it (`PL/pgSQL function f() line 3 at RAISE`).
    pub(crate) context: Option<String>,
}

pub(crate) const INTERNAL_ERROR: i32 = pack(*b"XX000");
pub(crate) const QUERY_CANCELED: i32 = pack(*b"57014");
pub(crate) const READ_ONLY_TRANSACTION: i32 = pack(*b"25006");

/// Packs a five-character SQLSTATE: six bits a character, the first in the lowest bits.
pub(crate) const fn pack(code: [u8; 5]) -> i32 {
    let mut value = 0;
    let mut i = 0;
    while i < 5 {
        value |= ((code[i].wrapping_sub(b'0') & 0x3F) as i32) << (6 * i);
        i += 1;
    }
    value
}

/// The five characters of a packed SQLSTATE.
pub(crate) fn unpack(code: i32) -> String {
    (0..5)
        .map(|i| (((code >> (6 * i)) & 0x3F) as u8 + b'0') as char)
        .collect()
}

impl PgError {
    pub(crate) fn new(sqlstate: i32, message: impl Into<String>) -> Self {
        Self {
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
            context: None,
        }
    }

    pub(super) fn from_error_data(data: &pg_sys::ErrorData) -> Self {
        let text = |pointer: *const core::ffi::c_char| {
            // SAFETY: ErrorData's strings are NULL or NUL-terminated.
            (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
        };
        Self {
            sqlstate: data.sqlerrcode,
            message: text(data.message).unwrap_or_default(),
            detail: text(data.detail),
            hint: text(data.hint),
            context: text(data.context),
        }
    }

    /// The form in which errors are kept in rows.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut map = serde_json::Map::new();
        map.insert("sqlstate".into(), unpack(self.sqlstate).into());
        map.insert("message".into(), self.message.clone().into());
        for (key, value) in [
            ("detail", &self.detail),
            ("hint", &self.hint),
            ("context", &self.context),
        ] {
            if let Some(value) = value {
                map.insert(key.into(), value.clone().into());
            }
        }
        map.into()
    }

    /// Reads back what [`Self::to_json`] wrote.
    pub(crate) fn from_json(value: &serde_json::Value) -> Self {
        let text = |key: &str| value.get(key).and_then(|v| v.as_str()).map(str::to_owned);
        let sqlstate = text("sqlstate")
            .and_then(|code| code.into_bytes().try_into().ok())
            .map_or(INTERNAL_ERROR, pack);
        Self {
            sqlstate,
            message: text("message").unwrap_or_default(),
            detail: text("detail"),
            hint: text("hint"),
            context: text("context"),
        }
    }
}

/// Raises `error` as an ERROR. Only [`super::guard::entry`] calls this, with nothing left to drop above it.
pub(super) fn raise(error: PgError) -> ! {
    report(PgLogLevel::ERROR as i32, error);
    unreachable!("an ERROR does not return");
}

/// Writes `error` to the server log at level LOG, for workers that go on after it.
pub(crate) fn log(error: PgError) {
    report(PgLogLevel::LOG as i32, error);
}

/// Writes `error` to the server log at level WARNING, and to the client where there is one.
pub(crate) fn warn(error: PgError) {
    report(PgLogLevel::WARNING as i32, error);
}

/// Tells the client something about what it has asked for.
pub(crate) fn notice(message: impl Into<String>) {
    report(PgLogLevel::NOTICE as i32, PgError::new(0, message));
}

/// Writes a message of ours to the server log.
pub(crate) fn log_text(message: impl Into<String>) {
    report(PgLogLevel::LOG as i32, PgError::new(0, message));
}

fn report(level: i32, error: PgError) {
    // Interior NULs cannot come from Postgres; from elsewhere they end the text.
    let c = |text: &str| CString::new(text.split('\0').next().unwrap_or_default()).ok();
    let message = c(&error.message).unwrap_or_default();
    let detail = error.detail.as_deref().and_then(c);
    let hint = error.hint.as_deref().and_then(c);
    let context = error.context.as_deref().and_then(c);
    let sqlstate = error.sqlstate;
    // SAFETY: the calls of the ereport() macro in its order. The strings are copied by Postgres before errfinish,
    // and everything of ours is dropped before errfinish may jump.
    unsafe {
        if !raw::errstart(level, std::ptr::null()) {
            return;
        }
        raw::errcode(sqlstate);
        raw::errmsg_internal(c"%s".as_ptr(), message.as_ptr());
        if let Some(detail) = &detail {
            raw::errdetail_internal(c"%s".as_ptr(), detail.as_ptr());
        }
        if let Some(hint) = &hint {
            raw::errhint(c"%s".as_ptr(), hint.as_ptr());
        }
        if let Some(context) = &context {
            raw::errcontext_msg(c"%s".as_ptr(), context.as_ptr());
        }
        drop((message, detail, hint, context, error));
        raw::errfinish(c"pg_workflow".as_ptr(), 0, c"report".as_ptr());
    }
}
