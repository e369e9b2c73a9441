//! Functions for values and streams; see `sql/functions/70_values.sql`.

use crate::engine::start::check_text;
use crate::engine::{calls, values};
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::{Interval, Json, txn};

const MAX_NAME: usize = 1024;

sql_function!("wf_emit", emit);
fn emit(args: Args) -> Result<Return, Error> {
    let name: String = args.need(0, "name")?;
    check_text("name", &name, MAX_NAME)?;
    let value: Json = args.need(1, "value")?;
    calls::emit(&name, &value)?;
    Ok(Return::void())
}

sql_function!("wf_wait_value", wait_value);
fn wait_value(args: Args) -> Result<Return, Error> {
    calls::require_outside("wf_wait_value")?;
    let (id, name): (String, String) = (args.need(0, "id")?, args.need(1, "name")?);
    let wait: Interval = args.need(2, "wait")?;
    let known: Option<Json> = args.get(3);
    let value = txn::with_spi(|| values::wait_value(&id, &name, wait, known.as_ref()))?;
    Ok(Return::json(value.as_ref()))
}

sql_function!("wf_read_stream", read_stream);
fn read_stream(args: Args) -> Result<Return, Error> {
    let (id, name): (String, String) = (args.need(0, "id")?, args.need(1, "name")?);
    let (after, wait): (i64, Interval) = (args.need(2, "after")?, args.need(3, "wait")?);
    if wait.micros() > 0 {
        calls::require_outside("wf_read_stream with a wait")?;
    }
    let found = txn::with_spi(|| values::read_stream(&id, &name, after, wait))?;
    Ok(args.rows(
        found
            .iter()
            .map(|entry| [&entry.seq as _, &entry.value as _, &entry.at as _]),
    ))
}
