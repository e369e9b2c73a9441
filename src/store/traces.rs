//! Runs as spans of a distributed trace.

use super::statement;
use crate::pg::{Json, RunId, Timestamp};

statement!(OTLP, "run_otlp", UUID, TIMESTAMPTZ, TEXT);

/// A run and its children in OTLP's JSON form; what is open ends at `now`.
pub(crate) fn otlp(run: RunId, now: Timestamp) -> Option<Json> {
    OTLP.first(&[&run, &now, &env!("CARGO_PKG_VERSION")], |row| row.need(0))
}
