//! What jobs of pg_cron's kind need; see `sql/functions/82_cron.sql`.

use pg_workflow_core::schedule;

use crate::engine::{calls, purge};
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::{RunId, txn};

sql_function!("wf_cron_error", cron_error);
fn cron_error(args: Args) -> Result<Return, Error> {
    let text: String = args.need(0, "schedule")?;
    let error = schedule::parse(&text).err().map(|error| error.to_string());
    Ok(Return::value(error.as_deref()))
}

sql_function!("wf_forget_run", forget_run);
fn forget_run(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf.forget_run")?;
    let run: RunId = args.need(0, "run_id")?;
    txn::with_spi(|| purge::forget(run)).map(Return::value)
}
