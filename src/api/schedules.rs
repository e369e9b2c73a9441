//! Schedules; see `sql/functions/81_schedules.sql`.

use crate::engine::calls;
use crate::engine::schedule::{self, Change};
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::value::Argument;
use crate::pg::{Oid, Timestamp, txn};

/// The arguments that `wf_schedule` and `wf_alter_schedule` share: all but the name, which comes first.
fn change(args: Args) -> Change {
    Change {
        schedule: args.get(1),
        workflow: args.get(2),
        input: args.get(3),
        sql: args.get(4),
        time_zone: args.get(5),
        overlap: args.get(6),
        catch_up: args.get(7),
        catch_up_window: args.get(8),
        jitter: args.get(9),
        starts_at: args.get(10),
        ends_at: args.get(11),
        paused: args.get(12),
        time_key: args.get(13),
        priority: args.get(14),
        timeout: args.get(15),
        retry: args.get(16),
        transactional: args.get(17),
    }
}

sql_function!("wf_schedule", set);
fn set(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_schedule")?;
    let name: String = args.need(0, "name")?;
    args.need::<String>(1, "schedule")?;
    txn::with_spi(|| schedule::set(&name, &change(args))).map(Return::value)
}

sql_function!("wf_alter_schedule", alter);
fn alter(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_alter_schedule")?;
    let name: String = args.need(0, "name")?;
    let owner: Option<Oid> = args.get(18);
    txn::with_spi(|| schedule::alter(&name, owner, &change(args))).map(Return::value)
}

sql_function!("wf_unschedule", unset);
fn unset(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_unschedule")?;
    let name: String = args.need(0, "name")?;
    let owner: Option<Oid> = args.get(1);
    txn::with_spi(|| schedule::unset(&name, owner)).map(Return::value)
}

sql_function!("wf_schedule_run", run);
fn run(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_schedule_run")?;
    let name: String = args.need(0, "name")?;
    let owner: Option<Oid> = args.get(1);
    txn::with_spi(|| schedule::run_now(&name, owner)).map(Return::text)
}

sql_function!("wf_schedule_preview", preview);
fn preview(args: Args) -> Result<Return, Error> {
    calls::require_outside("wf_schedule_preview")?;
    let (text, count): (String, i32) = (args.need(0, "schedule")?, args.need(1, "n")?);
    let zone: Option<String> = args.get(2);
    let after: Option<Timestamp> = args.get(3);
    let found = txn::with_spi(|| schedule::preview(&text, count, zone.as_deref(), after))?;
    let rows = (1_i32..).zip(found).collect::<Vec<_>>();
    Ok(args.rows(rows.iter().map(|(n, (at, local))| [n as &dyn Argument, at, local])))
}
