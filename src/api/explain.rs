//! Why an instance does not move, and what has failed; see `sql/functions/43_explain.sql`.

use pg_workflow_core::shape;

use crate::engine::explain;
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::txn;

sql_function!("wf_explain", explain);
fn explain(args: Args) -> Result<Return, Error> {
    let id: String = args.need(0, "id")?;
    let reasons = txn::with_spi(|| explain::explain(&id))?;
    Ok(Return::json(reasons.as_ref()))
}

sql_function!("wf_message_shape", message_shape);
fn message_shape(args: Args) -> Result<Return, Error> {
    Ok(args
        .text(0)
        .map_or(Return::Null, |message| Return::text(shape::shape(message))))
}
