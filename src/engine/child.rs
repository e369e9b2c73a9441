//! Children: runs started by another run's `wf_call` or `wf_begin`, which waits for their end or lets them be.
//!
//! A child answers its parent's call when it ends ([`crate::store::answers`]). What becomes of it when the parent ends first
//! stands in the call: see [`ON_PARENT_END`].

use crate::engine::calls::{self, deliver, with_history};
use crate::engine::code::Code;
use crate::engine::history::{History, Want};
use crate::engine::start::{self, OnConflict, Start};
use crate::engine::turn::Turn;
use crate::engine::{send, trace};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::{Interval, Json, PgError, clock, fault, scope, txn};
use crate::store::inbox;
use crate::store::runs::{self, Locked, Parent};
use crate::store::steps::Kind;

/// What becomes of a child whose parent ends: waited for (and cancelled if the parent fails or is cancelled), cancelled in any
/// case, left alone.
pub(crate) const ON_PARENT_END: [&str; 3] = ["wait", "cancel", "abandon"];

/// Runs above a run at most: what calls itself without an end comes to one.
pub(super) const MAX_DEPTH: i16 = 50;

/// Arguments of `wf_call`.
pub(crate) struct ChildCall {
    pub(crate) workflow: String,
    pub(crate) input: Json,
    pub(crate) id: Option<String>,
    pub(crate) timeout: Option<Interval>,
    pub(crate) on_parent_end: String,
}

impl ChildCall {
    pub(crate) fn to_request(&self) -> Result<Json, Error> {
        if !ON_PARENT_END.contains(&self.on_parent_end.as_str()) {
            return Err(Error::WrongArgument {
                name: "on_parent_end",
                expected: "\"wait\", \"cancel\" or \"abandon\"".to_owned(),
            });
        }
        let timeout = self
            .timeout
            .map(|timeout| calls::positive(timeout, "timeout"))
            .transpose()?;
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        Ok(Json::object(&[
            ("workflow", Some(quoted(&self.workflow))),
            ("input", Some(self.input.to_text())),
            ("id", self.id.as_deref().map(quoted)),
            ("timeout", timeout.map(|micros| micros.to_string())),
            ("on_parent_end", Some(quoted(&self.on_parent_end))),
        ]))
    }
}

/// `wf_call`: starts a child and waits for its result.
pub(crate) fn call(name: &str, read: impl FnOnce() -> Result<ChildCall, Error>) -> Result<Option<Json>, Error> {
    let answer = with_history("wf_call", |history| {
        history.answer(Kind::Child, name, |_| {
            Ok(Want::Child {
                name: name.to_owned(),
                call: read()?.to_request()?,
            })
        })
    })?;
    deliver(answer)
}

impl Turn {
    /// Starts the child that an entry of the history asks for.
    pub(super) fn start_child(&mut self, code: &Code, history: &History, position: usize) -> Result<(), PgError> {
        let row = history.row(position);
        let request = row.request.clone().unwrap_or_else(Json::null);
        let id = match row.occurrence {
            1 => row.name.clone(),
            later => format!("{}/{later}", row.name),
        };
        let parent = Parent {
            run_id: self.run.run_id,
            n: row.n,
            item: 0,
        };
        let input = request.field("input").unwrap_or_else(Json::null);
        self.start_as_child(code, &request, &id, input, parent)
    }

    /// Starts a child under an id below the parent's own, unless the request names another.
    pub(super) fn start_as_child(
        &mut self,
        code: &Code,
        request: &Json,
        id: &str,
        input: Json,
        parent: Parent,
    ) -> Result<(), PgError> {
        self.has_children = true;
        let text = |key: &str| {
            let value = request.field(key)?.to_value();
            value.as_str().map(str::to_owned)
        };
        let timeout = request.field("timeout").and_then(|json| json.to_value().as_i64());
        let start = Start {
            workflow: text("workflow").unwrap_or_default(),
            input,
            id: Some(text("id").unwrap_or_else(|| format!("{}/{id}", self.run.id))),
            start_at: None,
            delay: None,
            priority: Some(i32::from(self.run.priority)),
            timeout: timeout.map(Interval::from_micros),
            start_timeout: None,
            on_conflict: OnConflict::Anew,
        };
        let depth = self.run.depth + 1;
        let trace = self.span(parent.n, parent.item);
        scope::as_owner(self.run.owner, &code.search_path, || {
            let start = || {
                if depth > MAX_DEPTH {
                    Error::TooDeep(MAX_DEPTH).throw();
                }
                start::start_child(start, parent, depth).unwrap_or_else(|error| error.throw());
                fault("child-started");
            };
            trace::within(trace, || txn::subtransaction(start))
        })
    }
}

/// A run ends: its children end with it. As the engine.
pub(super) fn release(run: &Locked) {
    cancel_all(run, "has ended");
}

/// The parent was cancelled and goes on, to clean up: its children end.
pub(super) fn cancel_with(run: &Locked) {
    cancel_all(run, "was cancelled");
}

/// Cancels the open children of a run, unless they are to be left alone.
fn cancel_all(run: &Locked, what: &str) {
    let reason = format!("Its parent \"{}\" {what}", run.id);
    for child in runs::open_children(run.run_id) {
        if child.on_parent_end.as_deref() != Some("abandon") {
            inbox::ask(child.run_id, inbox::Action::Cancel, Some(&reason), clock(), run.owner);
            hints::cancelled(child.run_id);
            send::tell(child.run_id, child.owner, child.priority);
        }
    }
}
