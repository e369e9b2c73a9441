//! Functions for tasks: of workflows and of the workers that do them; see `sql/functions/80_tasks.sql`.

use crate::api::inside::{name_at, timeout_at};
use crate::engine::calls;
use crate::engine::queue::{self, Poll, Settings};
use crate::engine::report::{self, Failure};
use crate::engine::task::{self, TaskCall};
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::{Interval, Json, txn};

sql_function!("wf_task", task);
fn task(args: Args) -> Result<Return, Error> {
    let result = task::call(name_at(args, 0)?, || {
        Ok(TaskCall {
            queue: args.need(1, "queue")?,
            input: args.need(2, "input")?,
            timeout: timeout_at(args, 3),
            retry: args.get(4),
            priority: args.get(5),
            start_timeout: timeout_at(args, 6),
            heartbeat: timeout_at(args, 7),
            total_timeout: timeout_at(args, 8),
            key: args.get(9),
            dedup: args.get(10),
        })
    })?;
    Ok(Return::kept(result.as_ref()))
}

/// An array whose elements must not be NULL.
fn texts_at(args: Args, index: usize, name: &'static str) -> Result<Vec<String>, Error> {
    let texts: Vec<Option<String>> = args.need(index, name)?;
    texts
        .into_iter()
        .collect::<Option<_>>()
        .ok_or(Error::NullArgument(name))
}

sql_function!("wf_queue", set_queue);
fn set_queue(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_queue")?;
    let name: String = args.need(0, "name")?;
    let workers: Option<Vec<Option<String>>> = args.get(5);
    let settings = Settings {
        max_running: args.get(1),
        rate: args.get(2),
        per: args.get(3),
        paused: args.get(4),
        workers: workers.map(|_| texts_at(args, 5, "workers")).transpose()?,
        max_running_per_key: args.get(6),
        max_backlog: args.get(7),
        overflow: args.get(8),
        notify: args.get(9),
    };
    txn::with_spi(|| queue::set(&name, &settings))?;
    Ok(Return::void())
}

/// Worker, max and lease stand behind each other, from `index` on.
fn poll_at(args: Args, queues: Vec<String>, index: usize) -> Result<Poll, Error> {
    calls::require_writable("wf_poll")?;
    Ok(Poll {
        queues,
        worker: args.get(index),
        max: args.need(index + 1, "max")?,
        lease: args.need(index + 2, "lease")?,
    })
}

sql_function!("wf_poll", poll);
fn poll(args: Args) -> Result<Return, Error> {
    let poll = poll_at(args, texts_at(args, 0, "queue")?, 1)?;
    let tasks = txn::with_spi(|| queue::poll(&poll))?;
    Ok(Return::json(Some(&tasks)))
}

fn wait(args: Args, queues: Vec<String>) -> Result<Return, Error> {
    calls::require_outside("CALL wf_poll")?;
    let wait: Interval = args.need(1, "wait")?;
    let poll = poll_at(args, queues, 3)?;
    if args.atomic() {
        return Err(Error::WaitInTransaction);
    }
    let tasks = txn::with_nonatomic_spi(|| queue::wait(&poll, wait))?;
    Ok(Return::kept_row(Some(&tasks)))
}

sql_function!("wf_poll_procedure", wait_for_queue);
fn wait_for_queue(args: Args) -> Result<Return, Error> {
    wait(args, vec![args.need(0, "queue")?])
}

sql_function!("wf_poll_many_procedure", wait_for_queues);
fn wait_for_queues(args: Args) -> Result<Return, Error> {
    wait(args, texts_at(args, 0, "queue")?)
}

sql_function!("wf_complete", complete);
fn complete(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_complete")?;
    let task: String = args.need(0, "task")?;
    let result: Option<Json> = args.get(1);
    txn::with_spi(|| report::complete(&task, result.as_ref())).map(Return::value)
}

sql_function!("wf_complete_many", complete_many);
fn complete_many(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_complete")?;
    let tasks: Json = args.need(0, "tasks")?;
    let outcomes = txn::with_spi(|| report::complete_all(&tasks))?;
    Ok(Return::json(Some(&outcomes)))
}

sql_function!("wf_fail", fail);
fn fail(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_fail")?;
    let task: String = args.need(0, "task")?;
    let failure = Failure {
        message: args.need(1, "message")?,
        retryable: args.need(2, "retryable")?,
        delay: args.get(3),
        sqlstate: args.need(4, "sqlstate")?,
        detail: args.get(5),
        counts: args.need(6, "counts")?,
    };
    txn::with_spi(|| report::fail(&task, &failure)).map(Return::value)
}

sql_function!("wf_heartbeat", heartbeat);
fn heartbeat(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_heartbeat")?;
    let task: String = args.need(0, "task")?;
    let (details, lease): (Option<Json>, Option<Interval>) = (args.get(1), args.get(2));
    txn::with_spi(|| report::heartbeat(&task, details, lease)).map(Return::value)
}
