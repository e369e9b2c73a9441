//! `ready`: runs that are ready for a turn.

use super::statement;
use crate::pg::value::Tid;
use crate::pg::{Oid, RunId};

statement!(INSERT, "ready_insert", OID, INT4, UUID);
statement!(RETAKE, "ready_retake", TID, UUID);
statement!(CLAIM, "ready_claim", OID, INT4, UUIDS);
statement!(DELETE, "ready_delete", TIDS);
statement!(OTHERS, "ready_others", OID, UUID);
statement!(OWNERS, "ready_owners");

/// A claimed row: locked until the transaction ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    place: Tid,
    pub(crate) run_id: RunId,
}

/// Makes a run ready. The caller also tells `worker::wake`, or nobody may look for long.
pub(crate) fn insert(owner: Oid, priority: i32, run: RunId) {
    INSERT.run(&[&owner, &priority, &run]);
}

/// As [`insert`]; returns the row for [`retake`].
pub(crate) fn insert_ticket(owner: Oid, priority: i32, run: RunId) -> Option<Ticket> {
    INSERT.first(&[&owner, &priority, &run], |row| Ticket {
        place: row.need(0),
        run_id: run,
    })
}

/// Claims a row that this process knows of an earlier transaction, if nobody else has claimed or deleted it.
pub(crate) fn retake(ticket: Ticket) -> Option<Ticket> {
    RETAKE.first(&[&ticket.place, &ticket.run_id], |row| Ticket {
        place: row.need(0),
        run_id: ticket.run_id,
    })
}

/// Claims up to `count` rows of a role, leaving out runs known to be held by another executor.
pub(crate) fn claim(owner: Oid, count: u32, except: &Vec<RunId>) -> Vec<Ticket> {
    CLAIM.query(&[&owner, &(count as i32), except], |row| Ticket {
        place: row.need(0),
        run_id: row.need(1),
    })
}

/// Deletes rows that have been served.
pub(crate) fn delete(tickets: &[Ticket]) {
    let places: Vec<Tid> = tickets.iter().map(|ticket| ticket.place).collect();
    DELETE.run(&[&places]);
}

/// True if a role has ready runs beside this one.
pub(crate) fn has_others(owner: Oid, run: RunId) -> bool {
    OTHERS.first(&[&owner, &run], |_| ()).is_some()
}

/// Roles that have ready runs.
pub(crate) fn owners() -> Vec<Oid> {
    OWNERS.query(&[], |row| row.need(0))
}
