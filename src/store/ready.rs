//! `ready`: runs that are ready for a turn.

use super::branches::Branch;
use super::{agenda, statement};
use crate::pg::value::{Argument, Tid};
use crate::pg::{Oid, RunId};

statement!(INSERT, "ready_insert", OID, INT4, UUID);
statement!(BRANCHES, "ready_branches", OID, INT4, UUID, INT4, INT4, INT4);
statement!(RETAKE, "ready_retake", TID, UUID);
statement!(CLAIM, "ready_claim", OID, INT4, UUIDS, INT4, INT8, UUIDS);
statement!(DELETE, "ready_delete", TIDS);
statement!(OTHERS, "ready_others", OID, UUID, INT4, INT8);
statement!(OWNERS, "ready_owners");
statement!(RUNS, "ready_runs");
statement!(FORGET, "ready_forget", OID);

/// A claimed row: locked until the transaction ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    place: Tid,
    pub(crate) run_id: RunId,
    /// What is ready is not the run itself but a branch of it.
    pub(crate) branch: Option<Branch>,
    pub(crate) position: Position,
}

/// A place in the order of a role's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    priority: i16,
    seq: i64,
}

impl Position {
    /// Before all rows.
    pub(crate) const START: Self = Self {
        priority: i16::MIN,
        seq: i64::MIN,
    };
}

/// Makes a run ready. The caller also notes a hint, or nobody may look for long.
pub(crate) fn insert(owner: Oid, priority: i32, run: RunId) {
    if !agenda::takes_ready(run) {
        INSERT.run(&[&owner, &priority, &run]);
    }
}

/// As [`insert`]; returns the row for [`retake`].
pub(crate) fn insert_ticket(owner: Oid, priority: i32, run: RunId) -> Option<Ticket> {
    INSERT.first(&[&owner, &priority, &run], |row| Ticket {
        place: row.need(0),
        run_id: run,
        branch: None,
        position: Position {
            priority: row.need(1),
            seq: row.need(2),
        },
    })
}

/// Makes branches of a run ready: the items of a call from `first` to `last`. The caller also notes a hint.
pub(crate) fn insert_branches(owner: Oid, priority: i32, run: RunId, n: i32, first: i32, last: i32) {
    if !agenda::takes_branches(run, n, first, last) {
        BRANCHES.run(&[&owner, &priority, &run, &n, &first, &last]);
    }
}

/// Claims a row that this process knows of an earlier transaction, if nobody else has claimed or deleted it.
pub(crate) fn retake(ticket: Ticket) -> Option<Ticket> {
    RETAKE.first(&[&ticket.place, &ticket.run_id], |_| ticket)
}

/// Claims up to `count` rows of a role behind a position, leaving out runs known to be held by another executor (but not
/// their branches), and those of `apart` with their branches.
pub(crate) fn claim(owner: Oid, count: u32, except: &Vec<RunId>, apart: &Vec<RunId>, after: Position) -> Vec<Ticket> {
    let priority = i32::from(after.priority);
    let args: [&dyn Argument; 6] = [&owner, &(count as i32), except, &priority, &after.seq, apart];
    CLAIM.query(&args, |row| {
        let run_id = row.need(1);
        Ticket {
            place: row.need(0),
            run_id,
            branch: row.get(4).map(|n| Branch {
                run_id,
                n,
                item: row.need(5),
            }),
            position: Position {
                priority: row.need(2),
                seq: row.need(3),
            },
        }
    })
}

/// Deletes rows that have been served.
pub(crate) fn delete(tickets: &[Ticket]) {
    let places: Vec<Tid> = tickets.iter().map(|ticket| ticket.place).collect();
    DELETE.run(&[&places]);
}

/// True if a role has ready runs beside this one, behind a position.
pub(crate) fn has_others(owner: Oid, run: RunId, after: Position) -> bool {
    OTHERS
        .first(&[&owner, &run, &i32::from(after.priority), &after.seq], |_| ())
        .is_some()
}

/// Removes all hints for a role that is not there any more.
pub(crate) fn forget(owner: Oid) {
    FORGET.run(&[&owner]);
}

/// Runs that have a hint, also one that is parked.
pub(crate) fn runs() -> Vec<RunId> {
    RUNS.query(&[], |row| row.need(0))
}

/// Roles that have ready runs.
pub(crate) fn owners() -> Vec<Oid> {
    OWNERS.query(&[], |row| row.need(0))
}
