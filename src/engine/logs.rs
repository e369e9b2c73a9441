//! What steps raise below ERROR: captured while they run, written beside their record. So it is there also when the step
//! fails and its effects are undone, and goes with the transaction that the attempt goes with.

use crate::engine::turn::Turn;
use crate::pg::errdata::pack;
use crate::pg::messages::{self, Captured, Message};
use crate::pg::{Timestamp, clock};
use crate::settings;
use crate::store::logs::{self, Place};

/// Runs an attempt and returns with its result what it has raised, as far as that is to be kept.
pub(super) fn capture<T>(attempt: impl FnOnce() -> T) -> (T, Captured) {
    match (settings::log_level(), settings::log_lines()) {
        (None, _) | (_, 0) => (attempt(), Captured::default()),
        (Some(least), limit) => messages::capture(least, limit, attempt),
    }
}

impl Turn {
    /// Writes what the last attempt has raised. As the engine.
    pub(super) fn keep_messages(&mut self, place: Place, step: &str) {
        let Captured { mut messages, refused } = std::mem::take(&mut self.raised);
        if messages.is_empty() {
            return;
        }
        if refused > 0 {
            messages.push(closing(
                format!("{refused} more messages of this attempt were not kept"),
                "pg_workflow.log_lines",
            ));
        }
        let limit = settings::log_lines_per_run();
        // One more than the limit is the message that says so.
        let Some(room) = limit.checked_sub(logs::count(self.run.run_id, limit + 1)) else {
            return;
        };
        for message in messages.iter().take(room) {
            logs::insert(self.run.run_id, place, step, message);
        }
        if messages.len() > room {
            let message = closing(
                "no more messages of this run are kept".to_owned(),
                "pg_workflow.log_lines_per_run",
            );
            logs::insert(self.run.run_id, place, step, &message);
        }
    }
}

/// The message behind the last that was kept.
fn closing(text: String, setting: &str) -> Message {
    let at: Timestamp = clock();
    Message {
        at,
        severity: "WARNING",
        sqlstate: pack(*b"54000"),
        text,
        detail: None,
        hint: Some(format!("The limit is {setting}.")),
        context: None,
    }
}
