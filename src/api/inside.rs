//! Functions for the inside of a workflow; see `sql/functions/20_inside.sql`.

use crate::engine::ask::Ask;
use crate::engine::calls::{self, StepCall};
use crate::engine::history::Wake;
use crate::engine::start::check_text;
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::{Interval, Json, RunId, clock, value};

const MAX_NAME: usize = 1024;

/// In place: a long replay asks for thousands of them.
pub(super) fn name_at<'a>(args: Args, index: usize) -> Result<&'a str, Error> {
    let name = args.text(index).ok_or(Error::NullArgument("name"))?;
    check_text("name", name, MAX_NAME)?;
    Ok(name)
}

pub(super) fn target_at(args: Args, index: usize) -> Result<String, Error> {
    let target: String = args.need(index, "target")?;
    if target.trim().is_empty() {
        Err(Error::EmptyArgument { name: "target" })
    } else {
        Ok(target)
    }
}

/// `more`: the first of those that function and procedure have in the same order.
fn step_at(args: Args, retry: usize, timeout: usize, more: usize) -> Result<StepCall, Error> {
    Ok(StepCall {
        target: target_at(args, 1)?,
        input: args.need(2, "input")?,
        retry: args.get(retry),
        timeout: args.get(timeout),
        total_timeout: args.get(more),
        cache_key: args.get(more + 1),
        cache_ttl: args.get(more + 2),
        transactional: args.need(more + 3, "transactional")?,
        queue: args.get(more + 4),
        key: args.get(more + 5),
    })
}

sql_function!("wf_step", step);
fn step(args: Args) -> Result<Return, Error> {
    let result = calls::step(args.is_unused(), name_at(args, 0)?, || step_at(args, 4, 3, 5))?;
    Ok(Return::kept(result.as_ref()))
}

sql_function!("wf_step_procedure", step_procedure);
fn step_procedure(args: Args) -> Result<Return, Error> {
    let result = calls::call_step(!args.atomic(), name_at(args, 0)?, || step_at(args, 4, 5, 6))?;
    Ok(Return::kept_row(result.as_ref()))
}

sql_function!("wf_sleep", sleep);
fn sleep(args: Args) -> Result<Return, Error> {
    let duration: Interval = args.need(0, "duration")?;
    // For the error of a time out of range (22008), which is the function's to see.
    duration.after(clock());
    calls::sleep(name_at(args, 1)?, Wake::After(duration), "wf_sleep")?;
    Ok(Return::void())
}

sql_function!("wf_sleep_until", sleep_until);
fn sleep_until(args: Args) -> Result<Return, Error> {
    let at: i64 = args.need(0, "at")?;
    if at == i64::MAX {
        return Err(Error::WrongArgument {
            name: "at",
            expected: "finite".to_owned(),
        });
    }
    calls::sleep(name_at(args, 1)?, Wake::At(at), "wf_sleep_until")?;
    Ok(Return::void())
}

/// Checked here for the error of a time out of range (22008), which is the function's to see.
pub(super) fn timeout_at(args: Args, index: usize) -> Option<Interval> {
    let timeout: Option<Interval> = args.get(index);
    if let Some(timeout) = timeout {
        timeout.after(clock());
    }
    timeout
}

/// `more`: where the prompt stands.
fn ask_at(args: Args, more: usize) -> Result<Ask, Error> {
    Ok(Ask {
        timeout: timeout_at(args, 1),
        prompt: args.get(more),
        schema: args.get(more + 1),
        default: args.get(more + 2),
    })
}

sql_function!("wf_wait_signal", wait_signal);
fn wait_signal(args: Args) -> Result<Return, Error> {
    let payload = calls::wait_signal(name_at(args, 0)?, || ask_at(args, 2))?;
    Ok(Return::kept(payload.as_ref()))
}

sql_function!("wf_wait_signal_procedure", wait_signal_procedure);
fn wait_signal_procedure(args: Args) -> Result<Return, Error> {
    let payload = calls::call_wait_signal(!args.atomic(), name_at(args, 0)?, || ask_at(args, 3))?;
    Ok(Return::kept_row(payload.as_ref()))
}

sql_function!("wf_set", set);
fn set(args: Args) -> Result<Return, Error> {
    let value: Json = args.need(1, "value")?;
    calls::set(name_at(args, 0)?, &value)?;
    Ok(Return::void())
}

sql_function!("wf_now", now);
fn now(_: Args) -> Result<Return, Error> {
    calls::now().map(Return::value)
}

sql_function!("wf_random", random);
fn random(_: Args) -> Result<Return, Error> {
    let value = calls::value("wf_random", || Json::parse(&value::random_unit().to_string()))?;
    Ok(Return::value(value.as_f64().unwrap_or_default()))
}

sql_function!("wf_uuid", uuid);
fn uuid(_: Args) -> Result<Return, Error> {
    let value = calls::value("wf_uuid", || Json::from_value(&value::random_uuid().into()))?;
    Ok(Return::uuid(RunId::parse(value.as_str().unwrap_or_default())))
}
