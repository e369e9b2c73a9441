//! `ready`: runs that are ready for a turn.

use super::statement;
use crate::pg::{Oid, RunId};

statement!(INSERT, "ready_insert", OID, INT4, UUID);
statement!(CLAIM, "ready_claim", OID, INT4, UUIDS);
statement!(DELETE, "ready_delete", OID, INT4, INT8S);
statement!(OWNERS, "ready_owners");

/// A claimed row: locked until the transaction ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) seq: i64,
    pub(crate) priority: i16,
    pub(crate) run_id: RunId,
}

/// Makes a run ready. The caller also tells `worker::wake`, or nobody may look for long.
pub(crate) fn insert(owner: Oid, priority: i32, run: RunId) {
    INSERT.run(&[&owner, &priority, &run]);
}

/// Claims up to `count` rows of a role, leaving out runs known to be held by another executor.
pub(crate) fn claim(owner: Oid, count: u32, except: &Vec<RunId>) -> Vec<Ticket> {
    CLAIM.query(&[&owner, &(count as i32), except], |row| Ticket {
        seq: row.need(0),
        priority: row.need(1),
        run_id: row.need(2),
    })
}

/// Deletes rows that have been served.
pub(crate) fn delete(owner: Oid, tickets: &[Ticket]) {
    let mut rest = tickets;
    // Claims come ordered by priority: one statement for each run of equal ones, which nearly always is one.
    while let Some(first) = rest.first() {
        let end = rest
            .iter()
            .position(|t| t.priority != first.priority)
            .unwrap_or(rest.len());
        let seqs: Vec<i64> = rest[..end].iter().map(|t| t.seq).collect();
        DELETE.run(&[&owner, &i32::from(first.priority), &seqs]);
        rest = &rest[end..];
    }
}

/// Roles that have ready runs.
pub(crate) fn owners() -> Vec<Oid> {
    OWNERS.query(&[], |row| row.need(0))
}
