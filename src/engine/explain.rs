//! Why an instance does not move. The reasons are looked up where they lie, in SQL (`sql/functions/43_explain.sql`).

use serde_json::json;

use crate::engine::authority::{self, Access};
use crate::engine::installed;
use crate::error::Error;
use crate::pg::{Json, PgError, scope};
use crate::store::reasons;

/// The reasons of the open or last run of an id, as an array of objects.
pub(crate) fn explain(id: &str) -> Result<Option<Json>, Error> {
    let caller = scope::current_user();
    scope::as_engine(|| {
        // The tables may be of another shape.
        if let Some((schema, library)) = installed::difference() {
            let error: PgError = Error::OtherSchema { schema, library }.into();
            let reason = json!({
                "reason": "versions", "instance": id, "explanation": error.message, "hint": error.hint,
            });
            return Ok(Some(Json::from_value(&json!([reason]))));
        }
        let run = authority::find(id, caller, Access::See)?;
        Ok(reasons::of_run(run.run_id))
    })
}
