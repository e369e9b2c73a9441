//! Which databases want a scheduler, and which must be free of workers for a while.

use super::slots::clean_up_at_exit;
use super::state::{Kind, STATE};
use crate::pg::{Oid, interrupt, process};

/// Databases that want a scheduler and have none, except one that is being closed.
pub(crate) fn without_scheduler() -> Vec<Oid> {
    STATE
        .with(|state| {
            let closed = state.closed_database;
            let wanted: Vec<Oid> = state
                .databases
                .iter()
                .copied()
                .filter(|d| *d != Oid::INVALID && *d != closed)
                .collect();
            wanted
                .into_iter()
                .filter(|d| state.of(Kind::Scheduler, *d).next().is_none())
                .collect()
        })
        .unwrap_or_default()
}

/// The database wants a scheduler.
pub(crate) fn want_scheduler(database: Oid) {
    STATE.with(|state| state.want_database(database));
}

/// The database wants no scheduler (any more): no extension there.
pub(crate) fn unwant_scheduler(database: Oid) {
    STATE.with(|state| {
        for place in state.databases.iter_mut().filter(|place| **place == database) {
            *place = Oid::INVALID;
        }
    });
}

/// No worker is to be in this database until [`open`]: those there are told to end. True when none is left.
pub(crate) fn close(database: Oid) -> bool {
    clean_up_at_exit();
    STATE
        .with(|state| {
            state.closed_database = database;
            state.closed_by = process::my_pid();
            let mut left = false;
            for slot in state
                .live()
                .filter(|slot| slot.database == database && slot.kind != Kind::Session)
            {
                left = true;
                slot.quit = true;
                slot.latch.set();
                if slot.kind == Kind::Executor {
                    interrupt::cancel_process(slot.pid);
                }
            }
            !left
        })
        .unwrap_or(true)
}

/// The command that needed the database closed is over; if the database is still there its workers may come back.
pub(crate) fn open(database: Oid, wanted: bool) {
    STATE.with(|state| {
        state.closed_database = Oid::INVALID;
        state.closed_by = 0;
        if !wanted {
            for place in state.databases.iter_mut().filter(|place| **place == database) {
                *place = Oid::INVALID;
            }
        }
        state.wake_launcher();
    });
}

/// Ends what this process has closed, if it dies in between.
pub(super) fn reopen() {
    STATE.with(|state| {
        if state.closed_by == process::my_pid() {
            state.closed_database = Oid::INVALID;
            state.closed_by = 0;
            state.wake_launcher();
        }
    });
}
