//! Versions that are not the newest any more, runs that may change theirs, and runs that may go.

use super::statement;
use crate::pg::{Json, Oid, RunId, Timestamp};

statement!(IN_FLIGHT, "runs_in_flight", TEXT, OID, INT4);
statement!(GET, "run_in_flight", UUID);
statement!(UPGRADE, "run_upgrade", UUID, INT4);
statement!(EXISTS, "definition_exists", TEXT);
statement!(OLD, "definitions_old");
statement!(USED, "definition_used", INT4, UUID);
statement!(LOCK, "definition_lock", INT4);
statement!(RETIRE, "definition_retire", INT4);
statement!(REVIVE, "definition_revive", INT4);
statement!(DELETE, "definition_delete", INT4);
statement!(PURGE_LOCK, "purge_lock", OID, TEXT, TIMESTAMPTZ, UUID, INT4, BOOL);
statement!(PURGE_LOCK_ONE, "purge_lock_one", OID, UUID, BOOL);
statement!(PURGE_DELETE, "purge_delete", UUIDS);

/// What a replay of an open run needs.
pub(crate) struct InFlight {
    pub(crate) id: String,
    pub(crate) version: i32,
    pub(crate) input: Json,
    pub(crate) search_path: String,
}

/// Open runs of a workflow and an owner, the newest first.
pub(crate) fn in_flight(workflow: &str, owner: Oid, max: i32) -> Vec<RunId> {
    IN_FLIGHT.query(&[&workflow, &owner, &max], |row| row.need(0))
}

/// `None`: it has ended.
pub(crate) fn get_in_flight(run: RunId) -> Option<InFlight> {
    GET.first(&[&run], |row| InFlight {
        id: row.need(0),
        version: row.need(1),
        input: row.need(2),
        search_path: row.need(3),
    })
}

/// Gives a run that this transaction is the one writer of another definition.
pub(crate) fn set_definition(run: RunId, def_id: i32) {
    UPGRADE.run(&[&run, &def_id]);
}

/// True if a workflow of this name was ever started, or defined, and not forgotten.
pub(crate) fn is_known(workflow: &str) -> bool {
    EXISTS.first(&[&workflow], |_| ()).is_some()
}

/// A definition that is not of the newest version of its workflow.
pub(crate) struct Old {
    pub(crate) def_id: i32,
    pub(crate) created_at: Timestamp,
    /// No start finds it any more.
    pub(crate) retired: bool,
    /// A transaction is running that may have found it before it was retired.
    pub(crate) in_doubt: bool,
}

pub(crate) fn old() -> Vec<Old> {
    OLD.query(&[], |row| Old {
        def_id: row.need(0),
        created_at: row.need(1),
        retired: row.need(2),
        in_doubt: row.need(3),
    })
}

/// True if a run that can be seen is on it.
pub(crate) fn is_used(old: &Old) -> bool {
    let first = RunId::least_at(old.created_at);
    USED.first(&[&old.def_id, &first], |row| row.need(0)).unwrap_or(true)
}

/// False if a transaction that has found it in the table is not over.
pub(crate) fn lock(old: &Old) -> bool {
    LOCK.first(&[&old.def_id], |_| ()).is_some()
}

/// No start is to find it from here on; true if transactions are running that may have found it before.
pub(crate) fn retire(old: &Old) -> bool {
    RETIRE.first(&[&old.def_id], |row| row.need(0)).unwrap_or(true)
}

/// Starts find it, again or still.
pub(crate) fn revive(old: &Old) {
    REVIVE.run(&[&old.def_id]);
}

/// Removes a definition; true if another one has the same code.
pub(crate) fn delete(def_id: i32) -> bool {
    DELETE.first(&[&def_id], |row| row.need(0)).unwrap_or(true)
}

/// Locks up to `max` runs that ended before a time and that `role` may remove: of `all` roles, or of those whose privileges it has.
pub(crate) fn lock_finished(role: Oid, all: bool, workflow: Option<&str>, before: Timestamp, max: i32) -> Vec<RunId> {
    // A run is made before it ends, in the same millisecond at the latest.
    let bound = RunId::least_at(before.saturating_add(1000));
    PURGE_LOCK.query(&[&role, &workflow, &before, &bound, &max, &all], |row| row.need(0))
}

/// Locks a run that has ended and that `role` may remove, as above.
pub(crate) fn lock_ended(role: Oid, all: bool, run: RunId) -> Vec<RunId> {
    PURGE_LOCK_ONE.query(&[&role, &run, &all], |row| row.need(0))
}

/// Removes those of the locked runs that may go; returns how many.
pub(crate) fn remove(runs: &Vec<RunId>) -> i32 {
    PURGE_DELETE.first(&[runs], |row| row.need(0)).unwrap_or(0)
}
