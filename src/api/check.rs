//! Looking at workflow functions; see `sql/functions/60_check.sql`.

use serde_json::{Value, json};

use crate::engine::check;
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::{Json, txn};

sql_function!("wf_check", check);
fn check(args: Args) -> Result<Return, Error> {
    let function: String = args.need(0, "function")?;
    let findings = txn::with_spi(|| check::check(&function))?;
    let rows: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "line": finding.line,
                "severity": finding.severity.name(),
                "check": finding.check,
                "message": finding.message,
            })
        })
        .collect();
    Ok(Return::json(Some(&Json::from_value(&rows.into()))))
}
