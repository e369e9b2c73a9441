//! `timers`: runs that become ready at a time.

use super::branches::Branch;
use super::{agenda, statement};
use crate::pg::{Oid, RunId, Timestamp};

statement!(INSERT, "timer_insert", TIMESTAMPTZ, UUID, INT4, OID, INT4, INT4);
statement!(DELETE, "timer_delete", TIMESTAMPTZ, UUID, INT4);
statement!(MOVE, "timer_move", TIMESTAMPTZ, INT4, TIMESTAMPTZ, UUID, INT4, INT4);
statement!(RESTORE, "timers_restore", UUIDS, TIMESTAMPTZ);
statement!(NEXT, "timer_next", TIMESTAMPTZ, UUID, INT4, INT4);

/// What a timer is for, where it is not a step's.
pub(crate) const DEADLINE: i32 = 0;
pub(crate) const START: i32 = -1;
pub(crate) const START_BY: i32 = -2;
/// The unit of a schedule, not of a run. Its runs have it as the call that they answer.
pub(crate) const SCHEDULE: i32 = -3;

/// Sets a timer. The caller also notes a hint.
pub(crate) fn insert(due: Timestamp, run: RunId, n: i32, owner: Oid, priority: i32) {
    if !agenda::takes_timer(due, run, n, 0) {
        INSERT.run(&[&due, &run, &n, &owner, &priority, &0]);
    }
}

/// Sets a timer of a branch. The caller also notes a hint.
pub(crate) fn insert_branch(due: Timestamp, branch: Branch, owner: Oid, priority: i32) {
    if !agenda::takes_timer(due, branch.run_id, branch.n, branch.item) {
        INSERT.run(&[&due, &branch.run_id, &branch.n, &owner, &priority, &branch.item]);
    }
}

pub(crate) fn delete(due: Timestamp, run: RunId, n: i32) {
    if !agenda::forgets_timer(due, run, n) {
        DELETE.run(&[&due, &run, &n]);
    }
}

/// A place in the order of timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    due: Timestamp,
    pub(crate) run: RunId,
    pub(crate) n: i32,
    item: i32,
}

impl Position {
    /// Before all timers.
    pub(crate) const START: Self = Self {
        due: Timestamp::MIN,
        run: RunId([0; 16]),
        n: i32::MIN,
        item: 0,
    };
}

/// Makes up to `count` runs ready whose timers are due, from a position on; returns their owners and positions.
pub(crate) fn move_due(now: Timestamp, count: i32, after: Position) -> Vec<(Oid, Position)> {
    MOVE.query(&[&now, &count, &after.due, &after.run, &after.n, &after.item], |row| {
        let position = Position {
            due: row.need(1),
            run: row.need(2),
            n: row.need(3),
            item: row.need(4),
        };
        (row.need(0), position)
    })
}

/// Sets the timers of runs again that are due behind a time and gone all the same; returns the first of them. The caller also
/// notes a hint.
pub(crate) fn restore(runs: &Vec<RunId>, behind: Timestamp) -> Option<Timestamp> {
    RESTORE.query(&[runs, &behind], |row| row.need(0)).into_iter().min()
}

/// When the next timer behind a position falls due.
pub(crate) fn next(after: Position) -> Option<Timestamp> {
    NEXT.first(&[&after.due, &after.run, &after.n, &after.item], |row| row.need(0))
}
