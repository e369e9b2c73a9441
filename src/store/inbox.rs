//! `signals` and `controls`: what others send to a run.

use super::statement;
use crate::pg::{Json, Oid, RunId, Timestamp};

statement!(SEND, "signal_insert", UUID, TEXT, JSONB, TEXT, TIMESTAMPTZ, OID);
statement!(TAKE, "signal_take", UUID, TEXT, INT4, TIMESTAMPTZ, INT8);
statement!(REFUSE, "signal_refuse", UUID, INT8, TEXT);
statement!(ASK, "control_insert", UUID, TEXT, TEXT, TIMESTAMPTZ, OID);
statement!(ANSWER, "control_take", UUID);
statement!(MISSED, "control_missed", UUID, INT4);
statement!(FORWARD_SIGNALS, "signals_forward", UUID, UUID);
statement!(FORWARD_CONTROLS, "controls_forward", UUID, UUID);

/// Keeps a signal for the run; false if its key was sent before.
pub(crate) fn send(run: RunId, name: &str, payload: &Json, key: Option<&str>, at: Timestamp, by: Oid) -> bool {
    SEND.first(&[&run, &name, payload, &key, &at, &by], |_| ()).is_some()
}

/// Consumes the oldest signal of a name whose number is above `after`, for step `n`; returns its payload and number.
pub(crate) fn take(run: RunId, name: &str, n: i32, at: Timestamp, after: i64) -> Option<(Json, i64)> {
    TAKE.first(&[&run, &name, &n, &at, &after], |row| (row.need(0), row.need(1)))
}

/// Says why a signal that was taken was of no use.
pub(crate) fn refuse(run: RunId, seq: i64, reason: &str) {
    REFUSE.run(&[&run, &seq, &reason]);
}

/// What an operator can ask of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Cancel,
}

/// Asks something of a run.
pub(crate) fn ask(run: RunId, action: Action, reason: Option<&str>, at: Timestamp, by: Oid) {
    let action = match action {
        Action::Cancel => "cancel",
    };
    ASK.run(&[&run, &action, &reason, &at, &by]);
}

/// Takes what was asked of a run: the reason of each request for a cancel.
pub(crate) fn take_cancels(run: RunId) -> Vec<Option<String>> {
    ANSWER.query(&[&run], |row| row.get(1))
}

/// True if the run was asked to stop since it was claimed, or has ended, or the call of it that a branch belongs to.
pub(crate) fn has_missed(run: RunId, branch_of: Option<i32>) -> bool {
    MISSED.first(&[&run, &branch_of], |_| ()).is_some()
}

/// What was sent to a run and not taken goes to the next run of its id.
pub(crate) fn forward(run: RunId, next: RunId) {
    FORWARD_SIGNALS.run(&[&run, &next]);
    FORWARD_CONTROLS.run(&[&run, &next]);
}
