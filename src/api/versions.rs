//! Functions for versions of code; see `sql/functions/50_versions.sql`.

use serde_json::Value;

use crate::engine::{calls, code, purge, upgrade};
use crate::error::Error;
use crate::hub::slots;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::{Interval, Json, scope, txn};

/// Refuses what replays instances in the middle of replaying one.
fn require_outside(function: &'static str) -> Result<(), Error> {
    calls::require_outside(function)?;
    if slots::is_registered() {
        return Err(Error::InsideStep(function));
    }
    Ok(())
}

sql_function!("wf_upgrade", upgrade);
fn upgrade(args: Args) -> Result<Return, Error> {
    require_outside("wf_upgrade")?;
    calls::require_writable("wf_upgrade")?;
    let id: String = args.need(0, "id")?;
    txn::with_spi(|| upgrade::upgrade(&id)).map(Return::value)
}

sql_function!("wf_replay_check", replay_check);
fn replay_check(args: Args) -> Result<Return, Error> {
    require_outside("wf_replay_check")?;
    let workflow: String = args.need(0, "workflow")?;
    let function: Option<String> = args.get(1);
    let max: i32 = args.need(2, "max")?;
    let found = txn::with_spi(|| upgrade::check(&workflow, function.as_deref(), max))?;
    Ok(Return::json(Some(&Json::from_value(&Value::Array(found)))))
}

sql_function!("wf_purge", purge);
fn purge(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_purge")?;
    let older_than: Interval = args.need(0, "older_than")?;
    let workflow: Option<String> = args.get(1);
    let max: i32 = args.need(2, "max")?;
    txn::with_spi(|| purge::purge(older_than, workflow.as_deref(), max)).map(Return::value)
}

sql_function!("wf_is_current", is_current);
fn is_current(args: Args) -> Result<Return, Error> {
    let schema: String = args.need(0, "schema_name")?;
    let name: String = args.need(1, "proc_name")?;
    let arguments: String = args.need(2, "proc_args")?;
    let md5: String = args.need(3, "source_md5")?;
    let found = txn::with_spi(|| scope::as_engine(|| code::current(&schema, &name, &arguments, &md5)));
    Ok(Return::value(found.is_some()))
}
