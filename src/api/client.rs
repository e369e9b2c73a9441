//! Functions for clients; see `sql/functions/10_client.sql`.

use crate::engine::start::{OnConflict, Queueing, Start};
use crate::engine::{calls, define, observe, send, start};
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::{Interval, Json, txn};

sql_function!("wf_define", define);
fn define(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_define")?;
    let (name, function): (String, String) = (args.need(0, "name")?, args.need(1, "function")?);
    let options: Json = args.need(2, "options")?;
    start::check_text("name", &name, 1024)?;
    txn::with_spi(|| define::define(&name, &function, &options)).map(Return::value)
}

sql_function!("wf_undefine", undefine);
fn undefine(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_undefine")?;
    let name: String = args.need(0, "name")?;
    Ok(Return::value(txn::with_spi(|| define::undefine(&name))))
}

sql_function!("wf_start", start);
fn start(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_start")?;
    let start = Start {
        workflow: args.need(0, "workflow")?,
        input: args.need(1, "input")?,
        id: args.get(2),
        start_at: args.get(3),
        delay: args.get(4),
        priority: args.get(5),
        timeout: args.get(6),
        on_conflict: OnConflict::from_name(&args.need::<String>(7, "on_conflict")?)?,
        start_timeout: args.get(8),
    };
    let (queue, key, dedup): (Option<String>, Option<String>, Option<String>) =
        (args.get(9), args.get(10), args.get(11));
    let queueing = match queue {
        Some(queue) => Some(Queueing { queue, key, dedup }),
        None if key.is_some() || dedup.is_some() => {
            return Err(Error::OnlyTogether {
                given: "key or dedup",
                with: "queue",
            });
        }
        None => None,
    };
    txn::with_spi(|| match queueing {
        Some(queueing) => start::start_in_queue(start, &queueing),
        None => start::start(start),
    })
    .map(Return::text)
}

sql_function!("wf_signal", signal);
fn signal(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_signal")?;
    let (id, name): (String, String) = (args.need(0, "id")?, args.need(1, "name")?);
    let payload: Json = args.need(2, "payload")?;
    let key: Option<String> = args.get(3);
    txn::with_spi(|| send::signal(&id, &name, &payload, key.as_deref())).map(Return::value)
}

sql_function!("wf_cancel", cancel);
fn cancel(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_cancel")?;
    let id: String = args.need(0, "id")?;
    let reason: Option<String> = args.get(1);
    txn::with_spi(|| send::cancel(&id, reason.as_deref())).map(Return::value)
}

sql_function!("wf_status", status);
fn status(args: Args) -> Result<Return, Error> {
    let id: String = args.need(0, "id")?;
    txn::with_spi(|| observe::status(&id)).map(Return::text)
}

sql_function!("wf_result", result);
fn result(args: Args) -> Result<Return, Error> {
    let (id, wait): (String, Interval) = (args.need(0, "id")?, args.need(1, "wait")?);
    if wait.micros() > 0 {
        // A worker that waits holds a process and a snapshot, and perhaps the very run that it waits for.
        calls::require_outside("wf_result with a wait")?;
    }
    let result = txn::with_spi(|| observe::result(&id, wait))?;
    Ok(Return::json(result.as_ref()))
}

sql_function!("wf_get", get);
fn get(args: Args) -> Result<Return, Error> {
    let id: String = args.need(0, "id")?;
    let name: Option<String> = args.get(1);
    let value = txn::with_spi(|| observe::get(&id, name.as_deref()))?;
    Ok(Return::json(value.as_ref()))
}
