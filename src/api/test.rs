//! `wf_test`; see `sql/functions/71_test.sql`.

use crate::api::operate::require_own_session;
use crate::engine::rehearsal::{self, Test};
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::txn;

sql_function!("wf_test", test);
fn test(args: Args) -> Result<Return, Error> {
    require_own_session("wf_test")?;
    let test = Test {
        workflow: args.need(0, "workflow")?,
        input: args.need(1, "input")?,
        signals: args.need(2, "signals")?,
        mocks: args.need(3, "mocks")?,
        until: args.get(4),
        cancel_after: args.get(5),
        starts_at: args.get(6),
        max_turns: args.need(7, "max_turns")?,
    };
    let trace = txn::with_spi(|| rehearsal::rehearse(test))?;
    Ok(Return::json(Some(&trace)))
}
