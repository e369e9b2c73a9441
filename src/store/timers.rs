//! `timers`: runs that become ready at a time.

use super::statement;
use crate::pg::{Oid, RunId, Timestamp};

statement!(INSERT, "timer_insert", TIMESTAMPTZ, UUID, INT4, OID, INT4);
statement!(DELETE, "timer_delete", TIMESTAMPTZ, UUID, INT4);
statement!(MOVE, "timer_move", TIMESTAMPTZ, INT4);
statement!(NEXT, "timer_next");

/// What a timer is for, where it is not a step's.
pub(crate) const DEADLINE: i32 = 0;
pub(crate) const START: i32 = -1;

/// Sets a timer. The caller also tells `worker::wake`.
pub(crate) fn insert(due: Timestamp, run: RunId, n: i32, owner: Oid, priority: i32) {
    INSERT.run(&[&due, &run, &n, &owner, &priority]);
}

pub(crate) fn delete(due: Timestamp, run: RunId, n: i32) {
    DELETE.run(&[&due, &run, &n]);
}

/// Makes up to `count` runs ready whose timers are due; returns their owners, one each.
pub(crate) fn move_due(now: Timestamp, count: i32) -> Vec<Oid> {
    MOVE.query(&[&now, &count], |row| row.need(0))
}

/// When the next timer falls due.
pub(crate) fn next() -> Option<Timestamp> {
    NEXT.first(&[], |row| row.need(0))
}
