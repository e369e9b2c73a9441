//! Functions for parallel work, children and compensation; see `sql/functions/21_parallel.sql`.

use crate::api::inside::{name_at, target_at, timeout_at};
use crate::engine::begin::{self, Begun};
use crate::engine::calls::StepCall;
use crate::engine::child::{self, ChildCall};
use crate::engine::map::{self, MapCall};
use crate::engine::start::check_text;
use crate::engine::task::TaskCall;
use crate::engine::{continued, saga};
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::{Interval, Json, clock};
use crate::store::steps::Kind;

fn child_at(args: Args, workflow: String) -> Result<ChildCall, Error> {
    let id: Option<String> = args.get(3);
    if let Some(id) = &id {
        check_text("id", id, 1024)?;
    }
    Ok(ChildCall {
        workflow,
        input: args.need(2, "input")?,
        id,
        timeout: args.get(4),
        on_parent_end: args.need(5, "on_parent_end")?,
    })
}

sql_function!("wf_call", call);
fn call(args: Args) -> Result<Return, Error> {
    let result = child::call(name_at(args, 0)?, || child_at(args, args.need(1, "workflow")?))?;
    Ok(Return::kept(result.as_ref()))
}

sql_function!("wf_begin", begin);
fn begin(args: Args) -> Result<Return, Error> {
    let (target, workflow): (Option<String>, Option<String>) = (args.get(1), args.get(6));
    let (sleep, until): (Option<Interval>, Option<i64>) = (args.get(7), args.get(8));
    let signal: Option<String> = args.get(9);
    let queue: Option<String> = args.get(11);
    let given = [
        target.is_some(),
        workflow.is_some(),
        sleep.is_some(),
        until.is_some(),
        signal.is_some(),
        queue.is_some() && target.is_none(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err(Error::OneOf("target, workflow, sleep, until, signal or queue"));
    }
    let kind = match (&target, &workflow, &signal) {
        (Some(_), ..) => Kind::Step,
        _ if queue.is_some() => Kind::Task,
        (_, Some(_), _) => Kind::Child,
        (_, _, Some(_)) => Kind::Signal,
        _ => Kind::Sleep,
    };
    let read = || {
        if args.get::<String>(18).is_some() && (target.is_some() || queue.is_none()) {
            return Err(Error::WrongArgument {
                name: "dedup",
                expected: "left out: it is for tasks only".to_owned(),
            });
        }
        Ok(if target.is_some() {
            Begun::Step(StepCall {
                target: target_at(args, 1)?,
                input: args.need(2, "input")?,
                timeout: args.get(4),
                retry: args.get(10),
                total_timeout: args.get(15),
                cache_key: None,
                cache_ttl: None,
                transactional: args.need(16, "transactional")?,
                queue,
                key: args.get(17),
            })
        } else if let Some(workflow) = workflow {
            Begun::Child(child_at(args, workflow)?)
        } else if let Some(queue) = queue {
            Begun::Task(TaskCall {
                queue,
                input: args.need(2, "input")?,
                timeout: timeout_at(args, 4),
                retry: args.get(10),
                priority: args.get(12),
                start_timeout: timeout_at(args, 13),
                heartbeat: timeout_at(args, 14),
                total_timeout: timeout_at(args, 15),
                key: args.get(17),
                dedup: args.get(18),
            })
        } else if let Some(signal) = signal {
            check_text("signal", &signal, 1024)?;
            let timeout = timeout_at(args, 4);
            Begun::Signal { signal, timeout }
        } else {
            Begun::Sleep(match (sleep, until) {
                (Some(duration), _) => duration.after(clock()),
                (None, until) => until.filter(|at| *at != i64::MAX).ok_or_else(|| Error::WrongArgument {
                    name: "until",
                    expected: "finite".to_owned(),
                })?,
            })
        })
    };
    begin::begin(name_at(args, 0)?, read, kind).map(Return::value)
}

sql_function!("wf_await", await_one);
fn await_one(args: Args) -> Result<Return, Error> {
    let result = begin::await_one(args.need(0, "handle")?, timeout_at(args, 1))?;
    Ok(Return::json(result.as_ref()))
}

sql_function!("wf_await_many", await_many);
fn await_many(args: Args) -> Result<Return, Error> {
    let handles: Vec<Option<i32>> = args.need(0, "handles")?;
    let handles: Option<Vec<i32>> = handles.into_iter().collect();
    let handles = handles.ok_or(Error::NullArgument("handle"))?;
    let result = begin::await_many(&handles, args.get(1), timeout_at(args, 2))?;
    Ok(Return::json(result.as_ref()))
}

sql_function!("wf_map", map);
fn map(args: Args) -> Result<Return, Error> {
    let read = || {
        let (target, workflow): (Option<String>, Option<String>) = (args.get(1), args.get(6));
        let children = workflow.is_some();
        if target.is_some() == children {
            return Err(Error::OneOf("target or workflow"));
        }
        let queue: Option<String> = args.get(10);
        if queue.is_some() && children {
            return Err(Error::WrongArgument {
                name: "queue",
                expected: "left out: it is for steps, and not for children".to_owned(),
            });
        }
        Ok(MapCall {
            step: StepCall {
                target: workflow.map_or_else(|| target_at(args, 1), Ok)?,
                input: args.need(7, "input")?,
                timeout: args.get(8),
                retry: args.get(9),
                total_timeout: None,
                cache_key: None,
                cache_ttl: None,
                transactional: true,
                queue,
                key: args.get(11),
            },
            children,
            items: args.get(2),
            query: args.get(3),
            max_parallel: args.get(4),
            tolerate: args.get(5),
        })
    };
    let result = map::call(name_at(args, 0)?, read)?;
    Ok(Return::kept(result.as_ref()))
}

sql_function!("wf_compensate", compensate);
fn compensate(args: Args) -> Result<Return, Error> {
    let read = || {
        Ok(StepCall {
            target: target_at(args, 1)?,
            input: args.need(2, "input")?,
            timeout: args.get(3),
            retry: args.get(4),
            total_timeout: None,
            cache_key: None,
            cache_ttl: None,
            transactional: true,
            queue: None,
            key: None,
        })
    };
    saga::register(name_at(args, 0)?, read)?;
    Ok(Return::void())
}

sql_function!("wf_rollback", rollback);
fn rollback(_: Args) -> Result<Return, Error> {
    let undone = saga::rollback()?;
    Ok(Return::json(undone.as_ref()))
}

sql_function!("wf_continue_as_new", continue_as_new);
fn continue_as_new(args: Args) -> Result<Return, Error> {
    let input: Json = args.need(0, "input")?;
    continued::call(&input)?;
    Ok(Return::Null)
}
