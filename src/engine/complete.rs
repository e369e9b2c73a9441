//! Answering a call by hand: an operator gives the result of a step that does not succeed, or ends a wait.
//!
//! It is written under the run's row lock, as the run's own turn would; who finds a process at the run does not wait for it.

use serde_json::json;

use crate::engine::actions::{self, Subject};
use crate::engine::send::find;
use crate::engine::{retry, step, task};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::{Json, clock, scope};
use crate::store::steps::Kind;
use crate::store::{operations, ready, runs};

/// Answers the open call `name` of the last run of an id (`None`: what it stands at), or the call that it has failed at, and has
/// the run go on. Returns the call's name.
pub(crate) fn complete(
    action: &str,
    id: &str,
    name: Option<&str>,
    result: &Json,
    reason: Option<&str>,
) -> Result<String, Error> {
    step::check_size(Some(result), || "result of the call".to_owned())?;
    actions::check_reason(reason)?;
    let caller = scope::current_user();
    scope::as_engine(|| {
        let run_id = find(id, caller)?.run_id;
        let run = runs::lock(&vec![run_id])
            .pop()
            .ok_or_else(|| Error::Busy(id.to_owned()))?;
        hints::holding();
        let now = clock();
        let open = run.status.is_open();
        let call = if open {
            operations::open_call(run_id, name)
        } else {
            retry::check(id, caller)?;
            operations::failed_call(run_id, name)
        };
        let call = call.ok_or_else(|| Error::NoOpenCall {
            id: id.to_owned(),
            call: name.map(str::to_owned),
        })?;
        // As if the time for it had passed: a wait has no result but which calls are done.
        let none = Json::parse("[]");
        let result = if call.kind == Kind::Await { &none } else { result };
        operations::complete(run_id, call.n, result, now);
        if call.kind == Kind::Task {
            task::withdraw(run_id, Some(call.n), now);
        }
        if open {
            operations::goes_on(run_id);
            ready::insert(run.owner, i32::from(run.priority), run_id);
            hints::ready(run.owner);
        } else {
            retry::open(&run, now);
        }
        let subject = Subject {
            run_id,
            id,
            owner: run.owner,
        };
        let detail = json!({ "n": call.n, "kind": call.kind.name(), "step": call.name });
        let result = Json::object(&[("result", Some(result.to_text()))]);
        let detail = Json::from_value(&detail).merge(&result);
        actions::record_json(action, caller, Some(subject), reason, Some(detail));
        Ok(call.name)
    })
}
