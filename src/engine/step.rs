//! One attempt of a step: as the owner, in a subtransaction of its own, under a timer.

use pg_workflow_core::policy::{RetryPolicy, Verdict};

use crate::engine::code::Code;
use crate::engine::{calls, limits, target};
use crate::error::Error;
use crate::hub::slots;
use crate::pg::errdata::{QUERY_CANCELED, pack, unpack};
use crate::pg::{Json, PgError, Timestamp, clock, guard, interrupt, scope, txn, value};
use crate::settings;
use crate::store::runs::Locked;

/// What `wf_step` was asked to do.
pub(crate) struct StepSpec {
    pub(crate) target: String,
    pub(crate) input: Json,
    pub(crate) retry: Option<RetryPolicy>,
    /// Of one attempt, in microseconds.
    pub(crate) timeout: Option<i64>,
    /// Of all attempts together, in microseconds.
    pub(crate) total_timeout: Option<i64>,
    pub(crate) caching: Option<Caching>,
    /// Where it runs as a branch that the function waits for: what that has to know of it.
    pub(crate) apart: Option<Json>,
}

/// Where a step's result is kept for others.
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

const DEADLOCK: i32 = pack(*b"40P01");
const SERIALIZATION: i32 = pack(*b"40001");

/// Makes one attempt, until the time for all of them is over. Its effects are in the current transaction if the result is `Done`, and nowhere otherwise.
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
) -> Attempt {
    let begun = clock();
    let own_timeout = spec.timeout.or(code.options.step_timeout);
    let deadline = run.deadline.map(|deadline| (deadline - begun).max(1));
    let left = until.map(|until| (until - begun).max(1));
    let limit = [own_timeout, left, deadline, company.patience]
        .into_iter()
        .flatten()
        .min();

    let (result, fired) = calls::acting(|| {
        scope::as_owner(run.owner, &code.search_path, || {
            if let Some(limit) = limit {
                interrupt::arm(limit);
            }
            // The size is checked before the subtransaction is released: a result that cannot be kept must not leave
            // its step's effects behind.
            let result = txn::subtransaction(|| {
                let result = target::run(&spec.target, &spec.input);
                if interrupt::has_fired() {
                    guard::throw(PgError::new(QUERY_CANCELED, "step has swallowed its interruption"));
                }
                check_size(result.as_ref(), || format!("result of step \"{name}\""))
                    .unwrap_or_else(|error| error.throw());
                result
            });
            (result, interrupt::disarm())
        })
    });

    match result {
        Ok(result) => Attempt::Done(Done { result, origin: None }),
        Err(error) if error.sqlstate == QUERY_CANCELED => {
            if slots::take_cancel() {
                Attempt::Cancelled
            } else if fired && company.patience.is_some() && limit == company.patience {
                Attempt::TakesLong
            } else if fired && own_timeout.is_some() && limit == own_timeout {
                Attempt::Failed(
                    Error::StepTimeout {
                        step: name.to_owned(),
                        detail: limits::attempt_detail(own_timeout.unwrap_or_default(), begun),
                    }
                    .into(),
                )
            } else if fired && left.is_some() && limit == left {
                Attempt::OutOfTime { made: true }
            } else if fired {
                Attempt::Expired
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

/// Decides what becomes of attempt number `attempt`.
pub(crate) fn verdict(code: &Code, spec: &StepSpec, attempt: i32, error: &PgError) -> Verdict {
    let default = RetryPolicy::default();
    let policy = spec.retry.as_ref().or(code.options.retry.as_ref()).unwrap_or(&default);
    policy.decide(attempt.unsigned_abs(), &unpack(error.sqlstate), chance())
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
