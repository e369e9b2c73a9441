//! A rehearsal (`wf_test`): a run from its beginning to its end in the caller's transaction, of which nothing stays.
//!
//! Everything happens in a subtransaction that is rolled back. Meanwhile the clock of this process stands, and is set forward
//! when there is nothing to do but to wait; `ready` and `timers` are kept in memory ([`agenda`]), nobody is told of anything,
//! and steps that the script has an answer for are not run. Turns are taken as in any transaction that cannot be committed.
//!
//! Invariant: only runs that were inserted in the rehearsal are touched, and only those of the session's own role.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pg_workflow_core::script::{self, Answer, Answers};

use crate::engine::recall::Recall;
use crate::engine::start::{self, OnConflict, Start, check_text};
use crate::engine::step::{Attempt, Done};
use crate::engine::turn::{self, End, Terms};
use crate::engine::{branch, calls, continued, send, step, target, task};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::errdata::{INTERNAL_ERROR, pack};
use crate::pg::{Interval, Json, Oid, PgError, Timestamp, clock, guard, scope, txn};
use crate::store::agenda::{self, Unit};
use crate::store::branches::{self, LockedBranch};
use crate::store::inbox;
use crate::store::runs::{self, Status};
use crate::store::steps::{self, Kind};
use crate::store::tasks;

/// Arguments of `wf_test`.
pub(crate) struct Test {
    pub(crate) workflow: String,
    pub(crate) input: Json,
    pub(crate) signals: Json,
    pub(crate) mocks: Json,
    pub(crate) until: Option<Interval>,
    pub(crate) cancel_after: Option<Interval>,
    pub(crate) starts_at: Option<Timestamp>,
    pub(crate) max_turns: i32,
}

/// Something that comes from outside at a time.
struct Event {
    at: Timestamp,
    what: What,
}

enum What {
    Signal(String, Json),
    Cancel,
}

/// What a rehearsal answers steps with, and how far it has come.
struct Stage {
    workflow: String,
    answers: Answers,
    mocks: Json,
    turns: i32,
    limit: i32,
}

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

/// While it lives this process rehearses. Dropped on every way out.
struct Rehearsal;

impl Rehearsal {
    fn begin(stage: Stage, now: Timestamp) -> Self {
        STAGE.set(Some(stage));
        agenda::open();
        clock::simulate(Some(now));
        Self
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        clock::simulate(None);
        agenda::close();
        STAGE.set(None);
    }
}

/// Rehearses a workflow; returns what has happened.
///
/// # Errors
/// What a start raises, and mistakes in the script. Errors of the workflow are part of what has happened.
pub(crate) fn rehearse(test: Test) -> Result<Json, Error> {
    for (name, interval) in [("until", test.until), ("cancel_after", test.cancel_after)] {
        if interval.is_some_and(|interval| interval.micros() < 0) {
            return Err(Error::WrongArgument {
                name,
                expected: "an interval that is not negative".to_owned(),
            });
        }
    }
    if test.max_turns < 1 {
        return Err(Error::WrongArgument {
            name: "max_turns",
            expected: "positive".to_owned(),
        });
    }
    if test
        .starts_at
        .is_some_and(|at| at == Timestamp::MIN || at == Timestamp::MAX)
    {
        return Err(Error::WrongArgument {
            name: "starts_at",
            expected: "finite".to_owned(),
        });
    }
    let began = test.starts_at.unwrap_or_else(clock);
    let stage = Stage {
        workflow: test.workflow.clone(),
        answers: Answers::from_json(&test.mocks.to_value(), &calls::duration)?,
        mocks: test.mocks.clone(),
        turns: 0,
        limit: test.max_turns,
    };
    let events = events(&test, began)?;
    let rehearsal = Rehearsal::begin(stage, began);
    let outcome = hints::unheard(|| txn::trial(|| Ok(perform(test, events, began)?)));
    drop(rehearsal);
    outcome.map_or_else(|error| guard::throw(error), Ok)
}

/// What comes from outside, in order; at the same time a cancel comes last.
fn events(test: &Test, began: Timestamp) -> Result<Vec<Event>, Error> {
    let mut events = Vec::new();
    let names = script::signals(&test.signals.to_value(), &calls::duration)?;
    for (index, name) in names.into_iter().enumerate() {
        check_text("name", &name, send::MAX_NAME)?;
        let field = |key| test.signals.element(index).and_then(|signal| signal.field(key));
        let payload = field("payload").unwrap_or_else(|| Json::parse("null"));
        step::check_size(Some(&payload), || format!("payload of signal \"{name}\""))?;
        let after = field("after").and_then(|after| Interval::parse(after.to_value().as_str()?));
        events.push(Event {
            at: after.map_or(began, |after| after.after(began)),
            what: What::Signal(name, payload),
        });
    }
    if let Some(cancel_after) = test.cancel_after {
        events.push(Event {
            at: cancel_after.after(began),
            what: What::Cancel,
        });
    }
    events.sort_by_key(|event| event.at);
    Ok(events)
}

/// Starts the workflow, and goes from turn to turn and from time to time until it has ended, or nothing is left to wait for.
fn perform(test: Test, events: Vec<Event>, began: Timestamp) -> Result<Json, Error> {
    let owner = scope::current_user();
    let end = test.until.map(|until| until.after(began));
    let id = start::start(Start {
        workflow: test.workflow,
        input: test.input,
        id: None,
        start_at: None,
        delay: None,
        priority: None,
        timeout: None,
        start_timeout: None,
        on_conflict: OnConflict::Fail,
    })?;
    scope::as_engine(|| {
        let recall = Rc::default();
        let signals: Vec<String> = events.iter().filter_map(Event::signal).collect();
        let mut events = events.into_iter().peekable();
        loop {
            txn::check_for_interrupts();
            while let Some(event) = events.next_if(|event| event.at <= clock()) {
                deliver(&id, owner, event.what)?;
            }
            agenda::move_due(clock());
            if let Some(unit) = agenda::next_ready() {
                count()?;
                take_turn(unit, owner, &recall);
                continue;
            }
            let next = agenda::next_due()
                .into_iter()
                .chain(events.peek().map(|event| event.at))
                .min();
            match next {
                Some(next) if send::find(&id, owner)?.status.is_open() => {
                    let stop = end.filter(|end| *end < next);
                    clock::simulate(Some(stop.unwrap_or(next)));
                    if stop.is_some() {
                        break;
                    }
                }
                _ => break,
            }
        }
        let mut unused =
            STAGE.with_borrow(|stage| stage.as_ref().map(|stage| stage.answers.unused()).unwrap_or_default());
        unused.extend(not_taken(signals).iter().map(|name| format!("signal \"{name}\"")));
        let run = send::find(&id, owner)?.run_id;
        let lost = || PgError::new(INTERNAL_ERROR, "the rehearsed run is gone");
        Ok(agenda::trace(run, began, clock(), &Json::from_value(&unused.into()))
            .unwrap_or_else(|| guard::throw(lost())))
    })
}

/// What comes from outside reaches the open run of the id, if there is one.
fn deliver(id: &str, owner: Oid, what: What) -> Result<(), Error> {
    let run = send::find(id, owner)?;
    if run.status.is_open() {
        match what {
            What::Signal(name, payload) => {
                inbox::send(run.run_id, &name, &payload, None, clock(), owner);
            }
            What::Cancel => inbox::ask(run.run_id, inbox::Action::Cancel, None, clock(), owner),
        }
        agenda::add_ready((run.run_id, None));
    }
    Ok(())
}

fn take_turn(unit: Unit, owner: Oid, recall: &Rc<Recall>) {
    target::sweep();
    let terms = Terms {
        alone: true,
        until: None,
        in_place: false,
        careful: false,
        single: false,
        forced: None,
        steps: 0,
        ticket: None,
    };
    // One that a step has started for another role is not this session's to run.
    let ended = match unit {
        (run, None) => match runs::lock(&vec![run]).pop().filter(|run| run.owner == owner) {
            Some(run) if run.status.is_open() => scope::with_memory(|| turn::take(run, terms, recall)),
            Some(run) if run.status == Status::Continued => return continued::forward(run.run_id),
            _ => return,
        },
        (_, Some(unit)) if tasks::is_task(unit) => return task::act_on_time(unit),
        (_, Some(branch)) => match branches::lock(&[branch]).pop().filter(|(_, run)| run.owner == owner) {
            Some((locked, run)) => scope::with_memory(|| branch::take(&locked, run, terms, recall)),
            None => return,
        },
    };
    if ended.end != End::Settled {
        agenda::add_ready(unit);
    }
}

/// One more turn or attempt.
fn count() -> Result<(), Error> {
    STAGE.with_borrow_mut(|stage| {
        let Some(stage) = stage else { return Ok(()) };
        stage.turns += 1;
        if stage.turns > stage.limit {
            return Err(Error::TestWithoutEnd {
                workflow: stage.workflow.clone(),
                limit: stage.limit,
            });
        }
        Ok(())
    })
}

/// Names of the script's signals that no wait has taken.
fn not_taken(mut signals: Vec<String>) -> Vec<String> {
    let mut taken: HashMap<String, usize> = HashMap::new();
    for row in agenda::runs().into_iter().flat_map(steps::load) {
        if row.kind == Kind::Signal && row.result.is_some() {
            *taken.entry(row.name).or_default() += 1;
        }
    }
    signals.retain(|name| match taken.get_mut(name) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    });
    signals
}

impl Event {
    fn signal(&self) -> Option<String> {
        match &self.what {
            What::Signal(name, _) => Some(name.clone()),
            What::Cancel => None,
        }
    }
}

/// True in a rehearsal.
pub(super) fn is_on() -> bool {
    STAGE.with_borrow(Option::is_some)
}

/// In a rehearsal: what the script says that an attempt of a step comes to, given its occurrence and number (from 1).
/// `None`: it is to be made.
///
/// # Errors
/// Unwinds if the rehearsal has gone on for too long.
pub(super) fn answer(step: &str, place: impl FnOnce() -> (i32, i32)) -> Option<Attempt> {
    if !is_on() {
        return None;
    }
    count().unwrap_or_else(|error| error.throw());
    let (occurrence, attempt) = place();
    STAGE.with_borrow_mut(|stage| {
        let stage = stage.as_mut()?;
        let answer = stage
            .answers
            .answer(step, occurrence.unsigned_abs(), attempt.unsigned_abs())?;
        Some(match answer {
            Answer::Result(element) => {
                let mocks = stage.mocks.field(step)?;
                let mock = element.map_or(Some(mocks.clone()), |element| mocks.element(element))?;
                Attempt::Done(Done {
                    result: mock.field("result"),
                    origin: None,
                })
            }
            Answer::Fail(failure) => Attempt::Failed(PgError {
                sqlstate: failure.sqlstate.into_bytes().try_into().map_or(INTERNAL_ERROR, pack),
                message: failure.message,
                detail: failure.detail,
                hint: failure.hint,
                context: None,
            }),
        })
    })
}

/// As [`answer`], for an attempt of a branch. An item of a map is an occurrence.
pub(super) fn answer_branch(locked: &LockedBranch) -> Option<Attempt> {
    answer(&locked.name, || {
        let branch = locked.branch;
        let begun = steps::load(branch.run_id)
            .into_iter()
            .find(|row| row.n == branch.n && row.kind == Kind::Step);
        (begun.map_or(branch.item, |row| row.occurrence), locked.attempt + 1)
    })
}
