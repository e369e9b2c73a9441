//! Moving an instance to the code that its workflow has now, and telling beforehand whether that would go well.
//!
//! The history is replayed on the new code, as a turn's replay does, and nothing is acted upon. Replays run user code: in a
//! session that is connected as the owner only.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::engine::history::{History, Want};
use crate::engine::replay::{self, Call};
use crate::engine::{code, define, send, target};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::errdata::{QUERY_CANCELED, unpack};
use crate::pg::fmgr::role_name;
use crate::pg::{Json, Oid, PgError, RunId, catalog, clock, guard, scope, txn};
use crate::store::functions::Function;
use crate::store::runs::{self, Locked, Status};
use crate::store::steps::Kind;
use crate::store::versions::{self, InFlight};
use crate::store::{definitions, ready};

/// What the replay of a history on some code comes to.
enum Outcome {
    /// It asks for something new.
    GoesOn,
    /// It stands at these open calls.
    Waits(String),
    Ends,
    Fails(PgError),
    Departs {
        expected: String,
        found: String,
    },
}

impl Outcome {
    fn of(history: &mut History, result: Result<Option<Json>, PgError>) -> Self {
        let unasked = history.unasked();
        match (history.take_want(), result) {
            (Some(Want::Diverged { expected, found }), _) => Self::Departs { expected, found },
            (Some(Want::Blocked | Want::Step { index: Some(_), .. } | Want::Rollback { index: Some(_) }), _) => {
                let open = open_calls(history);
                match unasked {
                    Some(expected) => Self::Departs { expected, found: open },
                    None => Self::Waits(open),
                }
            }
            (Some(_), _) => Self::GoesOn,
            // Somebody has had enough of this.
            (None, Err(error)) if error.sqlstate == QUERY_CANCELED => guard::throw(error),
            (None, Err(error)) => Self::Fails(error),
            (None, Ok(_)) => match unasked {
                Some(expected) => Self::Departs {
                    expected,
                    found: "the end of the workflow".to_owned(),
                },
                None => Self::Ends,
            },
        }
    }

    /// Why an instance cannot go on with the code.
    fn refusal(&self) -> Option<String> {
        match self {
            Self::GoesOn | Self::Waits(_) | Self::Ends => None,
            Self::Fails(error) => Some(format!(
                "It would fail with SQLSTATE {}: {}.",
                unpack(error.sqlstate),
                error.message
            )),
            Self::Departs { expected, found } => Some(format!("Expected {expected}, found {found}.")),
        }
    }

    /// Outcome, expected and found, as `wf_replay_check` shows them.
    fn words(&self) -> (String, Option<&str>, Option<&str>) {
        match self {
            Self::GoesOn => ("would go on".to_owned(), None, None),
            Self::Waits(open) => (format!("would wait for {open}"), None, None),
            Self::Ends => ("would end now".to_owned(), None, None),
            Self::Fails(error) => {
                let code = unpack(error.sqlstate);
                (
                    format!("would fail with SQLSTATE {code}: {}", error.message),
                    None,
                    None,
                )
            }
            Self::Departs { expected, found } => ("takes another path".to_owned(), Some(expected), Some(found)),
        }
    }
}

fn open_calls(history: &History) -> String {
    let open = history.open().into_iter().map(|position| history.row(position));
    // What it awaits was begun before, and is open too.
    let open = open.filter(|row| row.kind != Kind::Await);
    let words: Vec<String> = open
        .map(|row| format!("{} \"{}\"", row.kind.name(), row.name))
        .collect();
    words.join(", ")
}

fn replay_on(run: RunId, call: &Call) -> Outcome {
    let (result, _, mut history) = replay::replay(call, History::load(run), None);
    Outcome::of(&mut history, result)
}

fn require_session(function: &'static str, role: Oid) -> Result<(), Error> {
    if scope::is_session_user(role) {
        return Ok(());
    }
    Err(Error::NotConnectedAs {
        function,
        role: role_name(role),
    })
}

/// Runs `f`, which looks for code as a start does, as the owner and with the `search_path` of an instance.
fn as_start<T>(owner: Oid, search_path: &str, f: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    scope::as_owner(owner, search_path, || txn::subtransaction(f)).unwrap_or_else(|error| guard::throw(error))
}

/// Moves the open run of an id to the code that its workflow has now; returns the version.
pub(crate) fn upgrade(id: &str) -> Result<i32, Error> {
    let caller = scope::current_user();
    scope::as_engine(|| {
        let ended = |status: Status| Error::InstanceEnded {
            id: id.to_owned(),
            status: status.name().to_owned(),
        };
        let found = send::find(id, caller)?;
        if !found.status.is_open() {
            return Err(ended(found.status));
        }
        require_session("wf_upgrade", found.owner)?;
        hints::holding();
        let run = runs::lock(&vec![found.run_id])
            .pop()
            .ok_or_else(|| Error::Busy(id.to_owned()))?;
        if !run.status.is_open() {
            return Err(ended(run.status));
        }
        loop {
            txn::check_for_interrupts();
            let generation = catalog::functions_generation();
            let version = move_to_newest(&run)?;
            // If a function was replaced meanwhile, the replay may have met another one than was recorded.
            if generation == catalog::functions_generation() {
                return Ok(version);
            }
        }
    })
}

fn move_to_newest(run: &Locked) -> Result<i32, Error> {
    let pinned = definitions::get(run.def_id).ok_or_else(|| Error::UnknownInstance(run.id.clone()))?;
    // The names in the code keep the meaning that they had at the start.
    let resolved = as_start(run.owner, &pinned.search_path, || {
        define::resolve(&pinned.workflow, &run.input)
    })?;
    if resolved.def_id == run.def_id {
        return Ok(resolved.version);
    }
    let code = code::load(resolved.def_id, run.owner).unwrap_or_else(|error| guard::throw(error));
    let call = Call {
        owner: run.owner,
        search_path: &code.search_path,
        function: &code.function,
        input: &run.input,
    };
    let outcome = replay_on(run.run_id, &call);
    if let Some(detail) = outcome.refusal() {
        return Err(Error::CannotUpgrade {
            id: run.id.clone(),
            workflow: pinned.workflow,
            version: resolved.version,
            detail,
        });
    }
    versions::set_definition(run.run_id, resolved.def_id);
    if run.status == Status::Waiting && !matches!(outcome, Outcome::Waits(_)) {
        // What it waits for is not what the new code is at.
        let started = run.started_at.unwrap_or_else(clock);
        runs::set_open(run.run_id, Status::Running, None, started);
        ready::insert(run.owner, i32::from(run.priority), run.run_id);
        hints::ready(run.owner);
    }
    Ok(resolved.version)
}

/// Replays the current user's open runs of a workflow on the code that it has now, or on another function; one JSON object a
/// run.
pub(crate) fn check(workflow: &str, function: Option<&str>, max: i32) -> Result<Vec<Value>, Error> {
    let owner = scope::current_user();
    require_session("wf_replay_check", owner)?;
    if max < 1 {
        return Err(Error::WrongArgument {
            name: "max",
            expected: "positive".to_owned(),
        });
    }
    let other = function.map(|name| (name, target::candidates(name)));
    if let Some((name, candidates)) = &other
        && candidates.is_empty()
    {
        return Err(Error::NoSuchFunction((*name).to_owned()));
    }
    let choose = |input: &Json| match &other {
        Some((name, candidates)) => target::choose(name, input, candidates),
        None => define::find(workflow, input).map(|(function, _)| function),
    };
    if !scope::as_engine(|| versions::is_known(workflow)) && !define::exists(workflow) {
        return Err(Error::UnknownWorkflow(workflow.to_owned()));
    }
    Ok(scope::as_engine(|| {
        let mut found = Vec::new();
        for run in versions::in_flight(workflow, owner, max) {
            txn::check_for_interrupts();
            target::sweep();
            found.extend(scope::with_memory(|| {
                let instance = versions::get_in_flight(run)?;
                Some(check_one(run, owner, &instance, choose))
            }));
        }
        found
    }))
}

fn check_one(
    run: RunId,
    owner: Oid,
    instance: &InFlight,
    choose: impl FnOnce(&Json) -> Result<Rc<Function>, Error>,
) -> Value {
    let outcome = match as_start(owner, &instance.search_path, || choose(&instance.input)) {
        Ok(function) => {
            let call = Call {
                owner,
                search_path: &instance.search_path,
                function: &function,
                input: &instance.input,
            };
            replay_on(run, &call)
        }
        Err(error) => Outcome::Fails(error.into()),
    };
    let (words, expected, found) = outcome.words();
    json!({
        "id": instance.id,
        "version": instance.version,
        "ok": outcome.refusal().is_none(),
        "outcome": words,
        "expected": expected,
        "found": found,
    })
}
