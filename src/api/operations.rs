//! Functions that control instances; see `sql/functions/40_operations.sql`.

use crate::engine::fork::{Fork, Place};
use crate::engine::pause::What;
use crate::engine::{calls, complete, fork, pause, retry, single};
use crate::error::Error;
use crate::hub::slots;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::{Json, txn};

sql_function!("wf_pause", pause);
fn pause(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_pause")?;
    let what = What::from_arguments(args.need(0, "id")?, args.need(1, "workflow")?)?;
    let reason: Option<String> = args.get(2);
    txn::with_spi(|| pause::pause(&what, reason.as_deref())).map(Return::value)
}

sql_function!("wf_resume", resume);
fn resume(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_resume")?;
    let what = What::from_arguments(args.need(0, "id")?, args.need(1, "workflow")?)?;
    let reason: Option<String> = args.get(2);
    txn::with_spi(|| pause::resume(&what, reason.as_deref())).map(Return::value)
}

sql_function!("wf_step_single", step);
fn step(args: Args) -> Result<Return, Error> {
    const NAME: &str = "wf_step of a paused instance";
    calls::require_outside(NAME)?;
    calls::require_writable("wf_step")?;
    if slots::is_registered() {
        return Err(Error::InsideStep(NAME));
    }
    let id: String = args.need(0, "id")?;
    let taken = txn::with_spi(|| single::step(&id))?;
    Ok(Return::json(Some(&taken)))
}

sql_function!("wf_retry", retry);
fn retry(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_retry")?;
    let id: String = args.need(0, "id")?;
    let reason: Option<String> = args.get(1);
    txn::with_spi(|| retry::retry(&id, reason.as_deref())).map(|()| Return::void())
}

sql_function!("wf_fork_step", fork_step);
fn fork_step(args: Args) -> Result<Return, Error> {
    fork_at(args, Place::Step(args.need(1, "step")?))
}

sql_function!("wf_fork_n", fork_n);
fn fork_n(args: Args) -> Result<Return, Error> {
    fork_at(args, Place::Number(args.need(1, "n")?))
}

fn fork_at(args: Args, at: Place) -> Result<Return, Error> {
    calls::require_writable("wf_fork")?;
    let fork = Fork {
        id: args.need(0, "id")?,
        at,
        new_id: args.get(2),
        input: args.get(3),
        newest: args.need(4, "newest")?,
    };
    txn::with_spi(|| fork::fork(&fork)).map(Return::text)
}

sql_function!("wf_complete_step", complete_step);
fn complete_step(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_complete_step")?;
    let (id, step): (String, String) = (args.need(0, "id")?, args.need(1, "step")?);
    let result: Json = args.need(2, "result")?;
    let reason: Option<String> = args.get(3);
    let done = || complete::complete("complete_step", &id, Some(&step), &result, reason.as_deref());
    txn::with_spi(done).map(|_| Return::void())
}

sql_function!("wf_skip", skip);
fn skip(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_skip")?;
    let id: String = args.need(0, "id")?;
    let reason: Option<String> = args.get(1);
    let done = || complete::complete("skip", &id, None, &Json::null(), reason.as_deref());
    txn::with_spi(done).map(Return::text)
}
