//! What the views ask; see `sql/functions/31_privileges.sql`.

use crate::engine::authority;
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::scope;

sql_function!("wf_sees_all", sees_all);
fn sees_all(_: Args) -> Result<Return, Error> {
    Ok(Return::value(authority::sees_all(scope::current_user())))
}
