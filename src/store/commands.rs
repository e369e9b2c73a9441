//! `commands`: branches that run as commands of their own, in no transaction that would hold them.

use super::branches::Branch;
use super::statement;
use crate::pg::{Oid, Timestamp};

statement!(BEGIN, "command_begin", UUID, INT4, INT4, TIMESTAMPTZ, OID, INT4);
statement!(WAIT_LOCK, "command_wait_lock", UUID, INT4, INT4);
statement!(DELETE, "command_delete", UUID, INT4, INT4);
statement!(LOCK_ALL, "commands_lock");

/// An attempt begins: the branch counts as running from the commit on. False if it is not to begin any more.
pub(crate) fn begin(branch: Branch, at: Timestamp, owner: Oid, priority: i32) -> bool {
    BEGIN
        .first(
            &[&branch.run_id, &branch.n, &branch.item, &at, &owner, &priority],
            |_| (),
        )
        .is_some()
}

/// Locks a branch that is running, waiting for whoever has it for a moment. False if it does not run any more.
pub(crate) fn wait_lock(branch: Branch) -> bool {
    WAIT_LOCK
        .first(&[&branch.run_id, &branch.n, &branch.item], |_| ())
        .is_some()
}

/// The attempt has ended, or is somebody else's to see to.
pub(crate) fn delete(branch: Branch) {
    DELETE.run(&[&branch.run_id, &branch.n, &branch.item]);
}

/// A branch that runs, or did, with owner and priority of its run.
pub(crate) struct Running {
    pub(crate) branch: Branch,
    pub(crate) owner: Oid,
    pub(crate) priority: i32,
}

/// Locks all that are not just being written.
pub(crate) fn lock_all() -> Vec<Running> {
    LOCK_ALL.query(&[], |row| Running {
        branch: Branch {
            run_id: row.need(0),
            n: row.need(1),
            item: row.need(2),
        },
        owner: row.need(3),
        priority: i32::from(row.need::<i16>(4)),
    })
}
