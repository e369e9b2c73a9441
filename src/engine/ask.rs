//! What a wait for a signal asks for: a payload that fits a schema, in words for a person, with a default.
//!
//! A signal is checked where it is sent, so that its sender gets the error, if the wait is open by then. One that was
//! sent before is checked where it is taken; one that does not fit is set aside there, and the wait goes on.

use pg_workflow_core::schema::{self, Schema};

use crate::engine::history::History;
use crate::engine::start::check_text;
use crate::engine::step;
use crate::engine::turn::Turn;
use crate::error::Error;
use crate::pg::{Interval, Json, RunId, Timestamp};
use crate::store::{inbox, waits};

/// Arguments of `wf_wait_signal`, without the name.
#[derive(Default)]
pub(crate) struct Ask {
    pub(crate) timeout: Option<Interval>,
    pub(crate) schema: Option<Json>,
    pub(crate) prompt: Option<String>,
    pub(crate) default: Option<Json>,
}

const MAX_PROMPT: usize = 16 * 1024;

impl Ask {
    /// Refuses what no signal of this name could be checked against, and what cannot be kept.
    pub(super) fn checked(self, name: &str) -> Result<Self, Error> {
        if let Some(schema) = &self.schema {
            Schema::parse(&schema.to_text()).map_err(|error| Error::MalformedSchema {
                signal: name.to_owned(),
                detail: error.to_string(),
            })?;
        }
        if let Some(prompt) = &self.prompt {
            check_text("prompt", prompt, MAX_PROMPT)?;
        }
        step::check_size(self.default.as_ref(), || format!("default of signal \"{name}\""))?;
        Ok(self)
    }
}

/// Refuses the payload of a signal that does not fit what the run waits for under its name.
pub(super) fn check_sent(run: RunId, name: &str, payload: &Json) -> Result<(), Error> {
    let Some(schema) = waits::schema(run, name) else {
        return Ok(());
    };
    schema::check(&schema.to_text(), &payload.to_text()).map_err(|refusal| Error::UnfitPayload {
        signal: name.to_owned(),
        detail: refusal.to_string(),
    })
}

impl Turn {
    /// Takes the oldest signal of a name that fits, for entry `n`.
    pub(super) fn take_fitting(
        &mut self,
        history: &mut History,
        name: &str,
        n: i32,
        now: Timestamp,
        schema: impl FnOnce() -> Option<Json>,
    ) -> Option<Json> {
        let (mut payload, mut seq) = history.take_signal(name, n, now)?;
        let Some(schema) = schema() else {
            return Some(payload);
        };
        let schema = Schema::parse(&schema.to_text());
        loop {
            let reason = match &schema {
                Ok(schema) => match schema.check(&payload.to_text()) {
                    Ok(()) => return Some(payload),
                    Err(refusal) => refusal.to_string(),
                },
                Err(error) => error.to_string(),
            };
            inbox::refuse(self.run.run_id, seq, &reason);
            self.wrote = true;
            (payload, seq) = history.take_signal(name, n, now)?;
        }
    }

    /// The same for an open wait.
    pub(super) fn take_for(&mut self, history: &mut History, position: usize, now: Timestamp) -> Option<Json> {
        let (run_id, n) = (self.run.run_id, history.row(position).n);
        let name = history.signal_name(position);
        self.take_fitting(history, &name, n, now, || waits::own_schema(run_id, n))
    }

    /// Notes for senders and readers what the wait that begins as entry `n` asks for.
    pub(super) fn publish_wait(&self, n: i32, name: &str, ask: &Ask, due_at: Option<Timestamp>, now: Timestamp) {
        let wait = waits::NewWait {
            n,
            name,
            since: now,
            due_at,
            prompt: ask.prompt.as_deref(),
            schema: ask.schema.as_ref(),
            default: ask.default.as_ref(),
        };
        waits::begin(self.run.run_id, &wait);
    }
}
