//! Functions for the cache of steps; see `sql/functions/42_cache.sql`.

use crate::engine::start::check_text;
use crate::engine::{cache, calls};
use crate::error::Error;
use crate::pg::fmgr::{Args, Return, sql_function};
use crate::pg::txn;

sql_function!("wf_cache_forget", forget);
fn forget(args: Args) -> Result<Return, Error> {
    calls::require_writable("wf_cache_forget")?;
    let key: Option<String> = args.get(0);
    if let Some(key) = &key {
        check_text("key", key, calls::MAX_KEY)?;
    }
    Ok(Return::value(txn::with_spi(|| cache::forget(key.as_deref()))))
}
