//! How long what has ended is kept; see `sql/functions/51_retention.sql`.

use crate::engine::{calls, retention};
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::{Interval, txn};

sql_function!("wf_retention", set);
fn set(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_retention")?;
    let workflow: Option<String> = args.get(0);
    let (completed, failed): (Option<Interval>, Option<Interval>) = (args.get(1), args.get(2));
    txn::with_spi(|| retention::set(workflow.as_deref(), completed, failed)).map(Return::value)
}
