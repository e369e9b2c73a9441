//! Workflows started from tables; see `sql/functions/61_triggers.sql`.

use crate::engine::calls;
use crate::engine::start::{self, OnConflict, Start};
use crate::engine::triggers::{self, On};
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::{Oid, txn};

sql_function!("wf_on", on);
fn on(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_on")?;
    let on = On {
        table: args.need(0, "\"table\"")?,
        event: args.need(1, "event")?,
        workflow: args.need(2, "workflow")?,
        when: args.get(3),
        input: args.get(4),
        id: args.get(5),
        name: args.get(6),
    };
    txn::with_spi(|| triggers::on(&on)).map(Return::text)
}

sql_function!("wf_start_for_row", start_for_row);
fn start_for_row(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_start")?;
    let start = Start {
        workflow: args.need(0, "workflow")?,
        input: args.need(1, "input")?,
        id: args.get(2),
        start_at: None,
        delay: None,
        priority: None,
        timeout: None,
        start_timeout: None,
        on_conflict: OnConflict::UseExisting,
    };
    txn::with_spi(|| start::start(start)).map(|_| Return::void())
}

sql_function!("wf_off", off);
fn off(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_off")?;
    let (table, name): (Oid, String) = (args.need(0, "\"table\"")?, args.need(1, "name")?);
    Ok(Return::value(txn::with_spi(|| triggers::off(table, &name))))
}
