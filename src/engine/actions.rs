//! The record of what operators do, written in the transaction that does it.

use crate::error::Error;
use crate::pg::{Json, Oid, RunId, clock};
use crate::store::actions::{self, Action};

/// The instance that something is done to.
pub(crate) struct Subject<'a> {
    pub(crate) run_id: RunId,
    pub(crate) id: &'a str,
    pub(crate) owner: Oid,
}

/// Refuses a reason that is no remark any more.
pub(crate) fn check_reason(reason: Option<&str>) -> Result<(), Error> {
    const LIMIT: usize = 10_000;
    match reason.map(str::len) {
        Some(bytes) if bytes > LIMIT => Err(Error::TooLong {
            name: "reason",
            bytes,
            limit: LIMIT,
        }),
        _ => Ok(()),
    }
}

/// Records what `by` has done, to one instance or (`None`) to several. As the engine.
pub(crate) fn record(
    name: &str,
    by: Oid,
    subject: Option<Subject>,
    reason: Option<&str>,
    detail: Option<&serde_json::Value>,
) {
    record_json(name, by, subject, reason, detail.map(Json::from_value));
}

/// As [`record`], with a detail that has values of users in it.
pub(crate) fn record_json(name: &str, by: Oid, subject: Option<Subject>, reason: Option<&str>, detail: Option<Json>) {
    actions::insert(&Action {
        at: clock(),
        by,
        owner: subject.as_ref().map_or(by, |subject| subject.owner),
        name,
        run: subject.map(|subject| (subject.run_id, subject.id)),
        reason,
        detail,
    });
}
