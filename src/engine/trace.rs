//! Distributed traces: the W3C trace context that a run was started with, its way into what the run does, and the run as spans.

use std::ffi::CString;

use pg_workflow_core::trace::{TraceParent, span_id};

use crate::engine::authority::{self, Access};
use crate::engine::turn::Turn;
use crate::error::Error;
use crate::pg::{Json, clock, scope};
use crate::settings;
use crate::store::traces;

/// What a run that is being started belongs to, as the setting says.
pub(super) fn current() -> Result<Option<TraceParent>, Error> {
    let Some(text) = settings::traceparent() else {
        return Ok(None);
    };
    let parsed = TraceParent::parse(&text).ok_or_else(|| Error::WrongArgument {
        name: "pg_workflow.traceparent",
        expected: "a W3C traceparent (00-<32 digits>-<16 digits>-<2 digits>, hexadecimal in lower case) or empty"
            .to_owned(),
    })?;
    Ok(Some(parsed))
}

/// Runs `f`, which is the owner's code or starts something for it, with the setting at what it belongs to.
pub(super) fn within<T>(trace: Option<TraceParent>, f: impl FnOnce() -> T) -> T {
    let Some(trace) = trace else { return f() };
    let text = CString::new(trace.to_string()).unwrap_or_default();
    scope::with_settings(&[(c"pg_workflow.traceparent", &text)], f)
}

impl Turn {
    /// What a call of the run, or an item of it, hands to what it does; `None` if the run belongs to no trace.
    pub(super) fn span(&self, n: i32, item: i32) -> Option<TraceParent> {
        let parent_id = span_id(&self.run.run_id.0, n, item);
        self.run.trace.map(|trace| TraceParent { parent_id, ..trace })
    }
}

/// `wf_otlp`: the open or last run of an id, with its children, as spans.
pub(crate) fn otlp(id: &str) -> Result<Option<Json>, Error> {
    let caller = scope::current_user();
    scope::as_engine(|| {
        let run = authority::find(id, caller, Access::See)?;
        Ok(traces::otlp(run.run_id, clock()))
    })
}
