//! A new instance with the history of another up to a call.

use std::rc::Rc;

use serde_json::json;

use crate::engine::actions::{self, Subject};
use crate::engine::send::find;
use crate::engine::start::check_text;
use crate::engine::{authority, define, metrics, step, target};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::{Json, Oid, RunId, clock, guard, scope, txn};
use crate::store::definitions::{self, Definition};
use crate::store::operations::{self, NewFork};
use crate::store::{functions, ready, timers};

/// Arguments of `wf_fork`.
pub(crate) struct Fork {
    pub(crate) id: String,
    pub(crate) at: Place,
    pub(crate) new_id: Option<String>,
    pub(crate) input: Option<Json>,
    pub(crate) newest: bool,
}

/// The call that the new instance goes on from.
pub(crate) enum Place {
    /// The last one of a name.
    Step(String),
    Number(i32),
}

/// Starts the new instance; returns its id.
pub(crate) fn fork(fork: &Fork) -> Result<String, Error> {
    let caller = scope::current_user();
    let run_id = RunId::generate();
    let new_id = fork.new_id.clone().unwrap_or_else(|| run_id.to_string());
    check_text("new_id", &new_id, 1024)?;
    if let Some(input) = &fork.input {
        step::check_size(Some(input), || "input of the workflow".to_owned())?;
    }
    scope::as_engine(|| {
        let origin = find(&fork.id, caller)?;
        define::check_owner(origin.owner)?;
        authority::check_use(origin.owner)?;
        let n = place(&fork.id, &fork.at, origin.run_id)?;
        // Held, so that the version of both is not purged before this is committed.
        let def_id = operations::definition(origin.run_id).ok_or_else(|| Error::UnknownInstance(fork.id.clone()))?;
        let def_id = code(def_id, origin.owner, fork.newest, fork.input.as_ref())?;
        let new = NewFork {
            run_id,
            id: &new_id,
            origin: origin.run_id,
            def_id,
            input: fork.input.as_ref(),
            at: clock(),
        };
        let Some((deadline, priority)) = operations::fork(&new) else {
            return Err(Error::InstanceExists {
                id: new_id.clone(),
                detail: "A fork needs an id of its own.".to_owned(),
                own: false,
            });
        };
        let calls = operations::copy_history(run_id, origin.run_id, n);
        if let Some(deadline) = deadline {
            timers::insert(deadline, run_id, timers::DEADLINE, origin.owner, i32::from(priority));
            hints::timer(deadline);
        }
        ready::insert(origin.owner, i32::from(priority), run_id);
        hints::started(run_id);
        metrics::forked(def_id, origin.owner);
        hints::ready(origin.owner);
        let subject = Subject {
            run_id: origin.run_id,
            id: &fork.id,
            owner: origin.owner,
        };
        let detail = json!({ "new_id": new_id, "calls": calls, "newest": fork.newest });
        actions::record("fork", caller, Some(subject), None, Some(&detail));
        Ok(new_id.clone())
    })
}

/// Number of the call that the history is taken up to.
fn place(id: &str, at: &Place, run: RunId) -> Result<i32, Error> {
    match at {
        Place::Step(name) => operations::last_call(run, name).ok_or_else(|| Error::UnknownStep {
            id: id.to_owned(),
            step: name.clone(),
        }),
        Place::Number(n) => {
            let calls = operations::calls(run);
            if (1..=calls + 1).contains(n) {
                return Ok(*n);
            }
            Err(Error::WrongArgument {
                name: "n",
                expected: format!("from 1 to {}", calls + 1),
            })
        }
    }
}

/// The definition that the new instance runs on: the given one, or that of its function as it is now. Checks that the input
/// fits, as the owner and without a way out, since the CHECK of a domain is anybody's code. A version keeps its parameters, so
/// that the function as it is now will do for that.
fn code(def_id: i32, owner: Oid, newest: bool, input: Option<&Json>) -> Result<i32, Error> {
    let definition = match definitions::get(def_id) {
        Some(definition) if newest || input.is_some() => definition,
        _ => return Ok(def_id),
    };
    let signature = format!("{}.{}({})", definition.schema, definition.function, definition.args);
    let function = functions::lookup(&definition.schema, &definition.function, &definition.args)
        .and_then(|oid| functions::get(oid, owner))
        .map(Rc::new);
    if let (Some(input), Some(function)) = (input, &function) {
        target::choose(&signature, input, std::slice::from_ref(function))?;
        txn::trial(|| {
            scope::as_restricted(owner, || target::check_values(function, input));
            Ok(())
        })
        .unwrap_or_else(|error| guard::throw(error));
        target::sweep();
    }
    if !newest {
        return Ok(def_id);
    }
    let function = function.ok_or(Error::NoSuchFunction(signature))?;
    if !function.executable {
        return Err(Error::NoExecute(function.signature.clone()));
    }
    let Definition {
        workflow,
        search_path,
        options,
        ..
    } = definition;
    define::record(&workflow, &function, search_path, &options).map(|((def_id, _), _)| def_id)
}
