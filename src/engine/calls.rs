//! The inside of a workflow: which run this process is replaying, and the calls its function makes.

use std::cell::RefCell;
use std::ffi::CString;

use pg_workflow_core::policy::RetryPolicy;

use crate::engine::ask::Ask;
use crate::engine::history::{Answer, History, Wake, Want};
use crate::engine::in_place::Stage;
use crate::engine::seats;
use crate::engine::start::check_text;
use crate::engine::step::{self, Caching, StepSpec};
use crate::error::Error;
use crate::pg::errdata::{INTERNAL_ERROR, PgError, QUERY_CANCELED};
use crate::pg::value::{timestamp_from_json, timestamp_json};
use crate::pg::{Interval, Json, Timestamp, clock, guard, interrupt, reads, txn};
use crate::store::steps::Kind;

/// What user code of this process is doing.
enum Scene {
    /// Anything else: a client's session, a worker between turns.
    Outside,
    /// A workflow function decides; it may ask, and only read. A procedure may have what it needs to act where it stands.
    Deciding(Box<History>, Option<Box<Stage>>),
    /// A step acts; it may write, and not ask.
    Acting,
}

thread_local! {
    static SCENE: RefCell<Scene> = const { RefCell::new(Scene::Outside) };
}

/// Runs `f`, which calls a workflow function, with `history` to answer from, and gives it back.
pub(crate) fn deciding<T>(history: History, f: impl FnOnce() -> T) -> (T, History) {
    match in_scene(Scene::Deciding(Box::new(history), None), f) {
        (result, Scene::Deciding(history, _)) => (result, *history),
        (_, Scene::Outside | Scene::Acting) => guard::throw(lost()),
    }
}

/// As [`deciding`], for a procedure whose steps run where they are called. No stage comes back if an error has struck the
/// engine in the middle of a step: then nothing that is remembered of the run is of use.
pub(crate) fn deciding_in_place<T>(
    history: History,
    stage: Stage,
    f: impl FnOnce() -> T,
) -> (T, History, Option<Stage>) {
    let run = history.run();
    match in_scene(Scene::Deciding(Box::new(history), Some(Box::new(stage))), f) {
        (result, Scene::Deciding(history, stage)) => (result, *history, stage.map(|stage| *stage)),
        (result, Scene::Outside | Scene::Acting) => (result, History::empty(run), None),
    }
}

/// What is left when the state of a replay was lost with an error that somebody swallowed.
pub(crate) fn lost() -> PgError {
    PgError::new(INTERNAL_ERROR, "workflow was lost in the middle of a step")
}

/// Runs `f`, which runs a step.
pub(crate) fn acting<T>(f: impl FnOnce() -> T) -> T {
    in_scene(Scene::Acting, f).0
}

/// Runs `f` in a scene and returns the scene with the result. An error takes the scene down with it: it must not meet
/// the process' next piece of work.
fn in_scene<T>(scene: Scene, f: impl FnOnce() -> T) -> (T, Scene) {
    if matches!(scene, Scene::Deciding(..)) {
        // Left over from a call that came to nothing.
        reads::take();
    }
    SCENE.replace(scene);
    let result = guard::catch(f);
    let scene = SCENE.replace(Scene::Outside);
    (result.unwrap_or_else(|error| guard::throw(error)), scene)
}

/// True while a workflow function decides: what it reads then is read outside of steps.
pub(crate) fn is_deciding() -> bool {
    SCENE.with(|scene| {
        scene
            .try_borrow()
            .is_ok_and(|scene| matches!(*scene, Scene::Deciding(..)))
    })
}

/// True inside a step.
pub(crate) fn is_acting() -> bool {
    SCENE.with_borrow(|scene| matches!(scene, Scene::Acting))
}

/// Refuses a function that only makes sense outside of workflows.
pub(crate) fn require_outside(function: &'static str) -> Result<(), Error> {
    SCENE.with_borrow(|scene| match scene {
        Scene::Outside => Ok(()),
        Scene::Deciding(..) => Err(Error::InsideWorkflow(function)),
        Scene::Acting => Err(Error::InsideStep(function)),
    })
}

/// Refuses a function that writes where it cannot: called directly by a workflow function, on a standby, in a read-only
/// transaction.
pub(crate) fn require_writable(function: &'static str) -> Result<(), Error> {
    SCENE.with_borrow(|scene| match scene {
        Scene::Deciding(..) => Err(Error::InsideWorkflow(function)),
        Scene::Outside | Scene::Acting => Ok(()),
    })?;
    txn::require_writable(&CString::new(format!("{function}()")).unwrap_or_default());
    Ok(())
}

pub(super) fn with_history<T>(
    function: &'static str,
    f: impl FnOnce(&mut History) -> Result<T, Error>,
) -> Result<T, Error> {
    SCENE.with_borrow_mut(|scene| match scene {
        Scene::Deciding(history, _) => f(history),
        Scene::Outside => Err(Error::OutsideWorkflow(function)),
        Scene::Acting => Err(Error::InsideStep(function)),
    })
}

/// Turns an answer into a value, an error of the workflow, or the unwinding. An error is returned, up to where it is raised:
/// each unwinding of Rust frames costs as much as a row written.
pub(super) fn deliver(answer: Answer) -> Result<Option<Json>, Error> {
    match answer {
        Answer::Value(value) => Ok(value),
        Answer::Raise(error) => Err(error.into()),
        Answer::Ahead => Ok(None),
        Answer::Unwind | Answer::UnwindAgain if leaves_softly() => {
            interrupt::cancel_soon();
            Ok(None)
        }
        // query_canceled, because EXCEPTION WHEN OTHERS lets it pass: user handlers do not see the unwinding.
        Answer::Unwind | Answer::UnwindAgain => {
            Err(PgError::new(QUERY_CANCELED, "workflow is unwound to wait or to run a step").into())
        }
    }
}

/// Recorded calls from which on a function is unwound behind the expression that has made the call, not in its middle.
const SOFT: usize = 32;

/// True if the call returns NULL and the next look for interrupts unwinds: before the next statement of PL/pgSQL, within the
/// same one of all others. PL/pgSQL marks an expression as busy while it evaluates it, and one that was left by an
/// error stays so until the transaction ends: each later replay would run it as a query, five times as slowly. What the
/// rest of the expression makes of the NULL does not count: the want is noted. Short functions are unwound at once.
fn leaves_softly() -> bool {
    SCENE.with_borrow(|scene| matches!(scene, Scene::Deciding(history, None) if history.len() >= SOFT))
}

/// Arguments of `wf_step`, without its name.
pub(crate) struct StepCall {
    pub(crate) target: String,
    pub(crate) input: Json,
    pub(crate) retry: Option<Json>,
    pub(crate) timeout: Option<Interval>,
    pub(crate) total_timeout: Option<Interval>,
    pub(crate) cache_key: Option<String>,
    pub(crate) cache_ttl: Option<Interval>,
    pub(crate) transactional: bool,
    /// The queue that it takes its turn in, and its key there.
    pub(crate) queue: Option<String>,
    pub(crate) key: Option<String>,
}

impl StepCall {
    /// True if it cannot run within its run's turn.
    fn is_apart(&self) -> bool {
        !self.transactional || self.queue.is_some()
    }

    fn check_queue(&self) -> Result<(), Error> {
        match (&self.queue, &self.key) {
            (Some(queue), key) => seats::check(queue, key.as_deref(), None),
            (None, Some(_)) => Err(Error::OnlyTogether {
                given: "key",
                with: "queue",
            }),
            (None, None) => Ok(()),
        }
    }

    fn into_spec(self) -> Result<StepSpec, Error> {
        self.check_queue()?;
        let apart = if self.is_apart() {
            Some(self.to_request(true)?)
        } else {
            None
        };
        Ok(StepSpec {
            apart,
            transactional: self.transactional,
            target: self.target,
            input: self.input,
            retry: self.retry.map(|json| read_policy(&json)).transpose()?,
            timeout: self.timeout.map(|timeout| positive(timeout, "timeout")).transpose()?,
            total_timeout: self
                .total_timeout
                .map(|timeout| positive(timeout, "total_timeout"))
                .transpose()?,
            caching: read_caching(self.cache_key, self.cache_ttl)?,
        })
    }

    /// What has to be known to run it without the function that has called it: read again by [`StepSpec::from_request`].
    pub(crate) fn to_request(&self, with_input: bool) -> Result<Json, Error> {
        let retry = self
            .retry
            .as_ref()
            .map(|json| read_policy(json).map(|_| json.to_text()));
        self.check_queue()?;
        let micros = |interval: Option<Interval>, name| {
            let micros = interval.map(|interval| positive(interval, name)).transpose()?;
            Ok::<_, Error>(micros.map(|micros| micros.to_string()))
        };
        let caching = read_caching(self.cache_key.clone(), self.cache_ttl)?;
        let ttl = caching.as_ref().and_then(|caching| caching.ttl);
        let text = |text: &str| serde_json::Value::from(text).to_string();
        Ok(Json::object(&[
            ("queue", self.queue.as_deref().map(text)),
            ("key", self.key.as_deref().map(text)),
            ("target", Some(text(&self.target))),
            ("input", with_input.then(|| self.input.to_text())),
            ("retry", retry.transpose()?),
            ("timeout", micros(self.timeout, "timeout")?),
            ("total_timeout", micros(self.total_timeout, "total_timeout")?),
            ("cache_key", caching.map(|caching| text(&caching.key))),
            ("cache_ttl", ttl.map(|micros| micros.to_string())),
            ("transactional", (!self.transactional).then(|| "false".to_owned())),
        ]))
    }
}

impl StepSpec {
    /// Reads what [`StepCall::to_request`] has made.
    pub(crate) fn from_request(request: &Json, input: Option<Json>) -> Self {
        let field = |key: &str| request.field(key);
        let text = |key: &str| field(key).and_then(|json| json.to_value().as_str().map(str::to_owned));
        let micros = |key: &str| field(key).and_then(|json| json.to_value().as_i64());
        Self {
            target: text("target").unwrap_or_default(),
            input: input.or_else(|| field("input")).unwrap_or_else(Json::null),
            retry: field("retry").and_then(|json| read_policy(&json).ok()),
            timeout: micros("timeout"),
            total_timeout: micros("total_timeout"),
            caching: text("cache_key").map(|key| Caching {
                key,
                ttl: micros("cache_ttl"),
            }),
            transactional: field("transactional").is_none(),
            apart: None,
        }
    }
}

fn want_step(name: &str, read: impl FnOnce() -> Result<StepCall, Error>, index: Option<usize>) -> Result<Want, Error> {
    Ok(Want::Step {
        name: name.to_owned(),
        index,
        spec: read()?.into_spec()?,
    })
}

fn ask_step(name: &str, read: impl FnOnce() -> Result<StepCall, Error>) -> Result<Answer, Error> {
    with_history("wf_step", |history| {
        history.answer(Kind::Step, name, |index| want_step(name, read, index))
    })
}

/// `wf_step` as a function: recorded, or unwinding. `unused`: nobody uses what it returns.
pub(crate) fn step(
    unused: bool,
    name: &str,
    read: impl FnOnce() -> Result<StepCall, Error>,
) -> Result<Option<Json>, Error> {
    let answer = if unused {
        with_history("wf_step", |history| {
            history.answer_unused(name, |index| want_step(name, read, index))
        })
    } else {
        ask_step(name, read)
    };
    deliver(answer?)
}

/// `wf_step` as a procedure: where it may commit, the step runs here and now.
pub(crate) fn call_step(
    may_commit: bool,
    name: &str,
    read: impl FnOnce() -> Result<StepCall, Error>,
) -> Result<Option<Json>, Error> {
    act_or_deliver(may_commit, ask_step(name, read)?)
}

/// Has a call that has no answer yet answered on the spot, if that is possible.
fn act_or_deliver(may_commit: bool, answer: Answer) -> Result<Option<Json>, Error> {
    if !matches!(answer, Answer::Unwind) || !may_commit || !txn::at_top_level() {
        return deliver(answer);
    }
    // While it still is the procedure's own code that runs. What it raises is not the unwinding.
    if let Err(error) = guard::catch(txn::prepare_to_act) {
        SCENE.with_borrow_mut(|scene| {
            if let Scene::Deciding(history, _) = scene {
                history.take_want();
            }
        });
        return Err(error.into());
    }
    // Taken out of the scene meanwhile: a step is a scene of its own.
    let scene = SCENE.replace(Scene::Outside);
    let Scene::Deciding(mut history, Some(mut stage)) = scene else {
        SCENE.replace(scene);
        return deliver(answer);
    };
    let answer = stage.act(&mut history);
    SCENE.replace(Scene::Deciding(history, Some(stage)));
    deliver(answer)
}

/// Reads a retry policy, with durations in Postgres' interval syntax.
pub(super) fn read_policy(json: &Json) -> Result<RetryPolicy, Error> {
    Ok(RetryPolicy::from_json(&json.to_value(), &duration)?)
}

fn read_caching(key: Option<String>, ttl: Option<Interval>) -> Result<Option<Caching>, Error> {
    let ttl = ttl.map(|ttl| positive(ttl, "cache_ttl")).transpose()?;
    match key {
        Some(key) => {
            check_text("cache_key", &key, MAX_KEY)?;
            Ok(Some(Caching { key, ttl }))
        }
        None if ttl.is_some() => Err(Error::WrongArgument {
            name: "cache_ttl",
            expected: "given together with cache_key".to_owned(),
        }),
        None => Ok(None),
    }
}

/// Longest key, in bytes: it stands in a btree index.
pub(crate) const MAX_KEY: usize = 1024;

/// A duration's text in microseconds.
pub(crate) fn duration(text: &str) -> Option<i64> {
    Interval::parse(text).map(Interval::micros)
}

pub(crate) fn positive(interval: Interval, name: &'static str) -> Result<i64, Error> {
    Some(interval.micros())
        .filter(|micros| *micros > 0)
        .ok_or_else(|| Error::WrongArgument {
            name,
            expected: "a positive interval".to_owned(),
        })
}

pub(crate) fn sleep(name: &str, until: Wake, function: &'static str) -> Result<(), Error> {
    let answer = with_history(function, |history| {
        history.answer(Kind::Sleep, name, |_| {
            Ok(Want::Sleep {
                name: name.to_owned(),
                until,
            })
        })
    })?;
    deliver(answer).map(|_| ())
}

fn ask_signal(name: &str, read: impl FnOnce() -> Result<Ask, Error>) -> Result<Answer, Error> {
    with_history("wf_wait_signal", |history| {
        history.answer(Kind::Signal, name, |_| {
            Ok(Want::Signal {
                name: name.to_owned(),
                ask: read()?.checked(name)?,
            })
        })
    })
}

pub(crate) fn wait_signal(name: &str, read: impl FnOnce() -> Result<Ask, Error>) -> Result<Option<Json>, Error> {
    ask_signal(name, read).and_then(deliver)
}

/// `wf_wait_signal` as a procedure: where it may commit, a signal that is there is taken here and now.
pub(crate) fn call_wait_signal(
    may_commit: bool,
    name: &str,
    read: impl FnOnce() -> Result<Ask, Error>,
) -> Result<Option<Json>, Error> {
    act_or_deliver(may_commit, ask_signal(name, read)?)
}

pub(crate) fn set(name: &str, value: &Json) -> Result<(), Error> {
    let answer = with_history("wf_set", |history| Ok(history.value(Kind::Set, name, || value.clone())))?;
    deliver(answer).map(|_| ())
}

pub(crate) fn emit(name: &str, value: &Json) -> Result<(), Error> {
    let answer = with_history("wf_emit", |history| {
        step::check_size(Some(value), || format!("value of stream \"{name}\""))?;
        Ok(history.value(Kind::Emit, name, || value.clone()))
    })?;
    deliver(answer).map(|_| ())
}

/// A recorded value, made by `make` at first passage.
pub(crate) fn value(function: &'static str, make: impl FnOnce() -> Json) -> Result<serde_json::Value, Error> {
    let answer = with_history(function, |history| Ok(history.value(Kind::Value, function, make)))?;
    Ok(deliver(answer)?.map(|json| json.to_value()).unwrap_or_default())
}

/// The present, recorded.
pub(crate) fn now() -> Result<Timestamp, Error> {
    let value = value("wf_now", || timestamp_json(clock()))?;
    Ok(timestamp_from_json(&value).unwrap_or_else(clock))
}
