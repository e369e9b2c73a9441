//! Why an instance does not move. The reasons are looked up where they lie, in SQL (`sql/functions/43_explain.sql`).

use crate::engine::send;
use crate::error::Error;
use crate::pg::{Json, scope};
use crate::store::reasons;

/// The reasons of the open or last run of an id, as an array of objects.
pub(crate) fn explain(id: &str) -> Result<Option<Json>, Error> {
    let caller = scope::current_user();
    scope::as_engine(|| {
        let run = send::find(id, caller)?;
        Ok(reasons::of_run(run.run_id))
    })
}
