//! One attempt of a step: as the owner, in a subtransaction of its own, under a timer.

use pg_workflow_core::policy::{RetryPolicy, Verdict};
use pg_workflow_core::trace::TraceParent;

use crate::engine::code::Code;
use crate::engine::{calls, limits, target, trace};
use crate::error::Error;
use crate::hub::slots;
use crate::pg::errdata::{QUERY_CANCELED, pack, unpack};
use crate::pg::{Json, PgError, Timestamp, clock, fault, guard, interrupt, scope, txn, value};
use crate::settings;
use crate::store::runs::Locked;

/// What `wf_step` was asked to do.
#[derive(Clone)]
pub(crate) struct StepSpec {
    pub(crate) target: String,
    pub(crate) input: Json,
    pub(crate) retry: Option<RetryPolicy>,
    /// Of one attempt, in microseconds.
    pub(crate) timeout: Option<i64>,
    /// Of all attempts together, in microseconds.
    pub(crate) total_timeout: Option<i64>,
    pub(crate) caching: Option<Caching>,
    /// Its effects commit with its record, and in no other transaction.
    pub(crate) transactional: bool,
    /// Where it runs as a branch that the function waits for: what that has to know of it.
    pub(crate) apart: Option<Json>,
}

/// Where a step's result is kept for others.
#[derive(Clone)]
pub(crate) struct Caching {
    pub(crate) key: String,
    /// For how long, in microseconds; `None`: until it is forgotten.
    pub(crate) ttl: Option<i64>,
}

/// What a step has come to.
pub(crate) struct Done {
    pub(crate) result: Option<Json>,
    /// Where the result comes from, if not from running the step.
    pub(crate) origin: Option<Json>,
}

/// What the transaction around an attempt is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Company {
    /// Time after which it is in the way of others, in microseconds; `None`: it may take its time.
    pub(crate) patience: Option<i64>,
    /// Nothing else is in the transaction, neither of another run nor of an earlier step.
    pub(crate) fresh: bool,
}

/// How an attempt went.
pub(crate) enum Attempt {
    Done(Done),
    Failed(PgError),
    /// It was in its neighbours' way and is rolled back: to be run again in a transaction of its own.
    TakesLong,
    /// It met a conflict that may be the neighbours' fault: likewise.
    Conflict,
    /// The instance was cancelled meanwhile.
    Cancelled,
    /// The run's own deadline has passed.
    Expired,
    /// The time for all attempts is over; not `made`: it was before this one began.
    OutOfTime {
        made: bool,
    },
}

impl Attempt {
    /// The SQLSTATE with which it has failed, if it has.
    pub(crate) fn failure(&self) -> Option<i32> {
        match self {
            Self::Failed(error) => Some(error.sqlstate),
            Self::OutOfTime { made: true } => Some(pack(*b"WF004")),
            _ => None,
        }
    }
}

/// SQLSTATE of attempts whose process has gone.
const LOST: &str = "WF007";

const DEADLOCK: i32 = pack(*b"40P01");
const SERIALIZATION: i32 = pack(*b"40001");

/// Makes one attempt, as part of `trace`, until the time for all of them is over. Its effects are in the current transaction if the result is `Done`, and nowhere otherwise.
///
/// # Errors
/// Unwinds if this process was told to stop what it does (see [`slots::stops_here`]): nothing is recorded then.
pub(crate) fn attempt(
    run: &Locked,
    code: &Code,
    name: &str,
    spec: &StepSpec,
    company: Company,
    until: Option<Timestamp>,
    trace: Option<TraceParent>,
) -> Attempt {
    let bounds = Bounds::new(run.deadline, code, spec, until, company.patience);

    fault("step");
    let (result, fired) = calls::acting(|| {
        scope::as_owner(run.owner, &code.search_path, || {
            if let Some(limit) = bounds.nearest() {
                interrupt::arm(limit);
            }
            // The size is checked before the subtransaction is released: a result that cannot be kept must not leave
            // its step's effects behind.
            let run = || {
                let result = target::run(&spec.target, &spec.input);
                fault("step-run");
                if interrupt::has_fired() {
                    guard::throw(PgError::new(QUERY_CANCELED, "step has swallowed its interruption"));
                }
                check_size(result.as_ref(), || format!("result of step \"{name}\""))
                    .unwrap_or_else(|error| error.throw());
                result
            };
            let result = trace::within(trace, || txn::subtransaction(run));
            (result, interrupt::disarm())
        })
    });

    fault("step-done");
    match result {
        Ok(result) => Attempt::Done(Done { result, origin: None }),
        Err(error) if error.sqlstate == QUERY_CANCELED => {
            if slots::take_cancel() {
                Attempt::Cancelled
            } else if fired {
                bounds.overrun(name)
            } else if slots::stops_here() {
                guard::throw(error)
            } else {
                Attempt::Failed(error)
            }
        }
        Err(error) if !company.fresh && matches!(error.sqlstate, DEADLOCK | SERIALIZATION) => Attempt::Conflict,
        Err(error) => Attempt::Failed(error),
    }
}

/// How long an attempt may take, in microseconds from its beginning.
pub(super) struct Bounds {
    begun: Timestamp,
    /// Of the attempt itself.
    own: Option<i64>,
    /// Of all attempts.
    left: Option<i64>,
    /// Of the run.
    deadline: Option<i64>,
    patience: Option<i64>,
}

impl Bounds {
    /// Those of an attempt that begins now.
    pub(super) fn new(
        deadline: Option<Timestamp>,
        code: &Code,
        spec: &StepSpec,
        until: Option<Timestamp>,
        patience: Option<i64>,
    ) -> Self {
        let begun = clock();
        let rest = |end: Timestamp| (end - begun).max(1);
        Self {
            begun,
            own: spec.timeout.or(code.options.step_timeout),
            left: until.map(rest),
            deadline: deadline.map(rest),
            patience,
        }
    }

    pub(super) fn nearest(&self) -> Option<i64> {
        let all = [self.own, self.left, self.deadline, self.patience];
        all.into_iter().flatten().min()
    }

    /// What the timer has ended the attempt for.
    pub(super) fn overrun(&self, name: &str) -> Attempt {
        let limit = self.nearest();
        if self.patience.is_some() && limit == self.patience {
            Attempt::TakesLong
        } else if let Some(own) = self.own.filter(|own| limit == Some(*own)) {
            let (step, detail) = (name.to_owned(), limits::attempt_detail(own, self.begun));
            Attempt::Failed(Error::StepTimeout { step, detail }.into())
        } else if self.left.is_some() && limit == self.left {
            Attempt::OutOfTime { made: true }
        } else {
            Attempt::Expired
        }
    }
}

/// Decides what becomes of attempt number `attempt`.
pub(crate) fn verdict(code: &Code, spec: &StepSpec, attempt: i32, error: &PgError) -> Verdict {
    policy(code, spec).decide(attempt.unsigned_abs(), &unpack(error.sqlstate), chance())
}

fn policy(code: &Code, spec: &StepSpec) -> RetryPolicy {
    let mut default = RetryPolicy::default();
    if !spec.transactional {
        default.retry_on.push(LOST.to_owned());
    }
    let policy = spec.retry.as_ref().or(code.options.retry.as_ref());
    policy.cloned().unwrap_or(default)
}

/// The error of an attempt behind which another is to come, and how many there may be in all (0: any number): for who looks
/// at the step while it waits.
pub(super) fn passing_error(code: &Code, spec: &StepSpec, error: &PgError) -> Json {
    let mut value = error.to_json();
    value["max_attempts"] = policy(code, spec).max_attempts.into();
    Json::from_value(&value)
}

/// A random number for jitter; always the same on a simulated clock, so that the same test gives the same times.
pub(super) fn chance() -> f64 {
    if clock::is_simulated() {
        0.5
    } else {
        value::random_unit()
    }
}

/// Refuses a value that is larger than `pg_workflow.max_payload`.
pub(crate) fn check_size(value: Option<&Json>, what: impl FnOnce() -> String) -> Result<(), Error> {
    let (bytes, limit) = (value.map_or(0, Json::size), settings::max_payload());
    if bytes > limit {
        return Err(Error::TooLarge {
            what: what(),
            bytes,
            limit,
        });
    }
    Ok(())
}
