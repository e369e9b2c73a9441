//! The place of this process in shared memory, and what others' places tell it.

use super::state::{STATE, STEP_NAME, Slot};
use super::{databases, hands, pollers, results, state};
use crate::pg::latch::LatchRef;
use crate::pg::{Oid, RunId, interrupt, process};
use crate::settings;

pub(crate) use state::{Command, Kind, available};

thread_local! {
    static MINE: std::cell::Cell<Option<usize>> = const { std::cell::Cell::new(None) };
}

/// Takes a slot for this process until it ends. False if all are taken, or this process is one too many: a second
/// scheduler of the database, an executor beyond the role's number (several may have been started at once).
pub(crate) fn register(kind: Kind, role: Oid) -> bool {
    if is_registered() {
        return false;
    }
    let taken = STATE.with(|state| {
        let database = process::my_database();
        let enough = match kind {
            Kind::Scheduler => state.of(kind, database).next().is_some(),
            Kind::Executor => {
                state.of(kind, database).filter(|slot| slot.role == role).count() >= settings::max_executors()
            }
            Kind::Launcher | Kind::Session => false,
        };
        if enough {
            return None;
        }
        let index = state.slots.iter().position(|slot| !slot.used)?;
        state.slots[index] = Slot {
            used: true,
            kind,
            pid: process::my_pid(),
            database,
            role,
            latch: LatchRef::mine(),
            since: crate::pg::clock(),
            next_due: i64::MAX,
            ..Slot::FREE
        };
        if kind == Kind::Executor {
            // It has come up: its scheduler need not be careful about the next.
            state.wake_scheduler(database);
        }
        Some(index)
    });
    let index = taken.flatten();
    MINE.set(index);
    if let Some(index) = index {
        hands::take(index, kind != Kind::Session);
        clean_up_at_exit();
    }
    index.is_some()
}

/// True if this process has a slot: what it runs is run for a workflow, even outside of steps (a deferred trigger).
pub(crate) fn is_registered() -> bool {
    MINE.get().is_some()
}

/// However this process ends, its places are given back.
pub(super) fn clean_up_at_exit() {
    thread_local! {
        static REGISTERED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    extern "C-unwind" fn at_exit(_: i32, _: pgrx::pg_sys::Datum) {
        results::stop_waiting();
        pollers::unregister();
        databases::reopen();
        release();
    }
    if !REGISTERED.replace(true) {
        process::at_exit(at_exit);
    }
}

/// Gives this process' slot back, and wakes who may want to start another.
pub(crate) fn release() {
    if let Some(index) = MINE.take() {
        hands::give_back();
        STATE.with(|state| {
            let freed = std::mem::replace(&mut state.slots[index], Slot::FREE);
            let Slot { kind, database, .. } = freed;
            if freed.command.is_some() {
                state.abandon_commands(database);
            }
            match kind {
                Kind::Scheduler => state.wake_launcher(),
                Kind::Executor => state.of(Kind::Scheduler, database).for_each(|slot| slot.latch.set()),
                Kind::Launcher | Kind::Session => {}
            }
        });
    }
}

fn mine<T>(f: impl FnOnce(&mut Slot) -> T) -> Option<T> {
    let index = MINE.get()?;
    STATE.with(|state| f(&mut state.slots[index]))
}

/// This process works on a run, at `step` (empty: on the workflow function). `slow`: others may take the processor.
pub(crate) fn set_busy(run: RunId, step: &str, slow: bool) {
    hands::hold(run, step);
    mine(|slot| {
        slot.slow = slow;
        if slot.run != Some(run) {
            slot.cancel = false;
        }
        slot.run = Some(run);
        slot.idle = false;
        // Cut at a character's border.
        let mut length = step.len().min(STEP_NAME);
        while !step.is_char_boundary(length) {
            length -= 1;
        }
        slot.step[..length].copy_from_slice(&step.as_bytes()[..length]);
        slot.step_length = length as u8;
        slot.since = crate::pg::clock();
    });
}

/// This process works on no run any more.
pub(crate) fn set_unoccupied() {
    hands::rest();
    mine(|slot| {
        slot.run = None;
        slot.cancel = false;
        slot.slow = false;
        slot.step_length = 0;
        slot.since = crate::pg::clock();
    });
}

/// From here on this process is the one that runs a branch as a command of its own: to be called before that can be read in
/// the tables. The claim of such a branch is this place in shared memory, which nobody but the end of the process takes away.
pub(crate) fn hold_command(command: Command) {
    mine(|slot| slot.command = Some(command));
}

/// The branch is not this process' any more; to be called when that can be read in the tables. `abandoned`: it cannot; the
/// scheduler is to see to the branch.
pub(crate) fn drop_command(abandoned: bool) {
    mine(|slot| slot.command = None);
    if abandoned {
        STATE.with(|state| state.abandon_commands(process::my_database()));
    }
}

/// True if a process of this database runs the branch as a command of its own.
pub(crate) fn is_held(command: Command) -> bool {
    let database = process::my_database();
    let held = |slot: &mut Slot| slot.database == database && slot.command == Some(command);
    STATE.with(|state| state.live().any(held)).unwrap_or(false)
}

/// Scheduler: true if commands may have been abandoned since the last call.
pub(crate) fn take_abandoned() -> bool {
    mine(|slot| std::mem::take(&mut slot.abandoned)).unwrap_or(false)
}

/// This process is about to sleep. To be called before the last look for work: what commits after that look finds it.
pub(crate) fn set_idle(idle: bool) {
    mine(|slot| slot.idle = idle);
}

/// True if this process was asked to end.
pub(crate) fn asked_to_quit() -> bool {
    mine(|slot| slot.quit).unwrap_or(false)
}

/// True if a cancelled statement means that this process is to stop, and not that its statement has failed: a worker
/// that was asked to end, or a client's session, whose user has pressed ^C or has a `statement_timeout`.
pub(crate) fn stops_here() -> bool {
    mine(|slot| slot.quit || slot.kind == Kind::Session).unwrap_or(true)
}

/// As whoever cancels the run that a process works on: for this one.
pub(crate) fn cancel_here() {
    mine(|slot| slot.cancel = true);
    interrupt::cancel_soon();
}

/// True if the run that this process works on was cancelled; the request counts as noticed.
pub(crate) fn take_cancel() -> bool {
    mine(|slot| std::mem::take(&mut slot.cancel)).unwrap_or(false)
}

/// As [`take_cancel`], leaving the request for the one who acts on it.
pub(crate) fn is_cancelled() -> bool {
    mine(|slot| slot.cancel).unwrap_or(false)
}

/// Scheduler: true if extension or home may have changed since the last call.
pub(crate) fn take_recheck() -> bool {
    mine(|slot| std::mem::take(&mut slot.recheck)).unwrap_or(false)
}

/// Scheduler: from here on it is told once when a run of its database has ended. To be called before it looks for some.
pub(crate) fn expect_end() {
    let Some(index) = MINE.get() else { return };
    STATE.with(|state| {
        state.slots[index].awaits_end = true;
        state.awaits_end = true;
    });
}

/// Scheduler: true if a run has ended since [`expect_end`] or the last call.
pub(crate) fn take_end() -> bool {
    mine(|slot| std::mem::take(&mut slot.end_seen)).unwrap_or(false)
}

/// Scheduler: true if rules of retention have changed since the last call.
pub(crate) fn take_rules_changed() -> bool {
    mine(|slot| std::mem::take(&mut slot.rules_changed)).unwrap_or(false)
}

/// Scheduler: timers due at or after this need not wake it.
pub(crate) fn set_next_due(due: Option<i64>) {
    mine(|slot| slot.next_due = due.unwrap_or(i64::MAX));
}

/// Scheduler: takes the requests for executors of its database.
pub(crate) fn take_requests(database: Oid) -> Vec<Oid> {
    STATE
        .with(|state| {
            let mine = state
                .requests
                .iter_mut()
                .filter(|(wanted, role)| *wanted == database && *role != Oid::INVALID);
            mine.map(|place| std::mem::replace(place, (Oid::INVALID, Oid::INVALID)).1)
                .collect()
        })
        .unwrap_or_default()
}

/// Number of executors of a role, and whether one of them is idle.
pub(crate) fn executors(database: Oid, role: Oid) -> (usize, bool) {
    STATE
        .with(|state| {
            let mut idle = false;
            let count = state
                .of(Kind::Executor, database)
                .filter(|slot| slot.role == role)
                .inspect(|s| idle |= s.idle)
                .count();
            (count, idle)
        })
        .unwrap_or((0, false))
}

/// Wakes an executor of the role, or has one started. False if all that it may have are busy.
pub(crate) fn wake_executor(database: Oid, role: Oid) -> bool {
    STATE.with(|state| state.wake_executor(database, role)).unwrap_or(false)
}

/// This process is occupied for long, until it says otherwise: wakes another executor of the role, as [`wake_executor`].
pub(crate) fn step_aside(database: Oid, role: Oid) -> bool {
    mine(|slot| slot.slow = true);
    wake_executor(database, role)
}

/// Asks the executor that has been idle longest, of any other role or database, to end. False if there is none.
pub(crate) fn make_room(database: Oid, role: Oid) -> bool {
    STATE
        .with(|state| {
            let candidates = state.live().filter(|slot| {
                slot.kind == Kind::Executor && slot.idle && !slot.quit && (slot.database, slot.role) != (database, role)
            });
            candidates.min_by_key(|slot| slot.since).map(|slot| {
                slot.quit = true;
                slot.latch.set();
            })
        })
        .flatten()
        .is_some()
}

/// A run is held by another process: it will wake the idle when it lets go.
pub(crate) fn set_contended() {
    STATE.with(|state| state.contended = true);
}

/// The live processes of a database and the launcher.
pub(crate) fn list(database: Oid) -> Vec<Slot> {
    STATE
        .with(|state| {
            state
                .live()
                .filter(|slot| slot.database == database || slot.kind == Kind::Launcher)
                .map(|slot| *slot)
                .collect()
        })
        .unwrap_or_default()
}
