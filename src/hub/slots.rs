//! Shared memory: a slot for each of our processes and for each client that waits for a result.
//!
//! One lightweight lock guards all of it; nothing under it waits or fails. Latches are set under the lock, so that a
//! slot's latch cannot belong to another process by then.

use crate::pg::latch::LatchRef;
use crate::pg::shared::Shared;
use crate::pg::{Oid, RunId, interrupt, process};
use crate::settings;

const PROCESSES: usize = 256;
const WAITERS: usize = 256;
const REQUESTS: usize = 64;
const DATABASES: usize = 256;
const STEP_NAME: usize = 64;

/// What one of our processes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Launcher,
    Scheduler,
    Executor,
    /// A client's session in `wf_run_pending`.
    Session,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Launcher => "launcher",
            Self::Scheduler => "scheduler",
            Self::Executor => "executor",
            Self::Session => "session",
        }
    }
}

/// A process of ours.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    used: bool,
    pub(crate) kind: Kind,
    pub(crate) pid: i32,
    pub(crate) database: Oid,
    pub(crate) role: Oid,
    latch: LatchRef,
    /// Sleeps, or is about to, and wants to be woken for work.
    pub(crate) idle: bool,
    /// Asked to end, to make room for another role's executor.
    quit: bool,
    /// The run it works on was cancelled.
    cancel: bool,
    /// Scheduler: extension or home may have changed.
    recheck: bool,
    pub(crate) run: Option<RunId>,
    step: [u8; STEP_NAME],
    step_length: u8,
    /// When the current state began (microseconds since 2000).
    pub(crate) since: i64,
    /// Scheduler: when its next timer falls due; timers set for later need not wake it.
    next_due: i64,
}

impl Slot {
    const FREE: Self = Self {
        used: false,
        kind: Kind::Session,
        pid: 0,
        database: Oid::INVALID,
        role: Oid::INVALID,
        latch: LatchRef::NONE,
        idle: false,
        quit: false,
        cancel: false,
        recheck: false,
        run: None,
        step: [0; STEP_NAME],
        step_length: 0,
        since: 0,
        next_due: 0,
    };

    pub(crate) fn step(&self) -> String {
        String::from_utf8_lossy(&self.step[..usize::from(self.step_length)]).into_owned()
    }
}

/// A client that waits for the end of a run.
#[derive(Clone, Copy)]
struct Waiter {
    run: Option<RunId>,
    pid: i32,
    latch: LatchRef,
}

#[derive(Clone, Copy)]
struct State {
    slots: [Slot; PROCESSES],
    waiters: [Waiter; WAITERS],
    waiting: usize,
    /// Databases that want a scheduler (invalid: free place).
    databases: [Oid; DATABASES],
    /// A database that is being dropped or renamed: no worker is to start there.
    closed_database: Oid,
    /// Roles that want an executor: (database, role).
    requests: [(Oid, Oid); REQUESTS],
    /// Some executor found a run held by another: whoever lets go of runs wakes the idle.
    contended: bool,
}

static STATE: Shared<State> = Shared::new(c"pg_workflow");

pub(crate) fn request() {
    STATE.request();
}

pub(crate) fn startup() {
    STATE.startup(State {
        slots: [Slot::FREE; PROCESSES],
        waiters: [Waiter {
            run: None,
            pid: 0,
            latch: LatchRef::NONE,
        }; WAITERS],
        waiting: 0,
        databases: [Oid::INVALID; DATABASES],
        closed_database: Oid::INVALID,
        requests: [(Oid::INVALID, Oid::INVALID); REQUESTS],
        contended: false,
    });
    MINE.set(None);
}

/// True if there is shared memory, that is, if the library was preloaded.
pub(crate) fn available() -> bool {
    STATE.available()
}

thread_local! {
    static MINE: std::cell::Cell<Option<usize>> = const { std::cell::Cell::new(None) };
}

impl State {
    fn live(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut().filter(|slot| slot.used)
    }

    fn of(&mut self, kind: Kind, database: Oid) -> impl Iterator<Item = &mut Slot> {
        self.live()
            .filter(move |slot| slot.kind == kind && slot.database == database)
    }

    fn wake_launcher(&mut self) {
        self.live()
            .filter(|slot| slot.kind == Kind::Launcher)
            .for_each(|slot| slot.latch.set());
    }

    fn want_database(&mut self, database: Oid) {
        if !self.databases.contains(&database)
            && let Some(place) = self.databases.iter_mut().find(|place| **place == Oid::INVALID)
        {
            *place = database;
        }
        self.wake_launcher();
    }

    /// Wakes an idle executor of the role, or asks the scheduler for one more if the role may have it.
    fn wake_executor(&mut self, database: Oid, role: Oid) {
        let mut count = 0;
        for slot in self
            .of(Kind::Executor, database)
            .filter(|slot| slot.role == role && !slot.quit)
        {
            if slot.idle {
                slot.idle = false;
                slot.latch.set();
                return;
            }
            count += 1;
        }
        if count < settings::max_executors() {
            self.ask_executor(database, role);
        }
    }

    fn ask_executor(&mut self, database: Oid, role: Oid) {
        if !self.requests.contains(&(database, role))
            && let Some(place) = self.requests.iter_mut().find(|(_, role)| *role == Oid::INVALID)
        {
            *place = (database, role);
        }
        self.wake_scheduler(database);
    }

    fn wake_scheduler(&mut self, database: Oid) {
        let scheduler = self.of(Kind::Scheduler, database).next().map(|slot| slot.latch);
        match scheduler {
            Some(latch) => latch.set(),
            None => self.want_database(database),
        }
    }
}

/// Takes a slot for this process until it ends. False if all are taken, or this process is one too many: a second
/// scheduler of the database, an executor beyond the role's number (several may have been started at once).
pub(crate) fn register(kind: Kind, role: Oid) -> bool {
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
    if index.is_some() {
        clean_up_at_exit();
    }
    index.is_some()
}

/// However this process ends, its places are given back.
fn clean_up_at_exit() {
    thread_local! {
        static REGISTERED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    extern "C-unwind" fn at_exit(_: i32, _: pgrx::pg_sys::Datum) {
        stop_waiting();
        release();
    }
    if !REGISTERED.replace(true) {
        process::at_exit(at_exit);
    }
}

/// Gives this process' slot back, and wakes who may want to start another.
pub(crate) fn release() {
    if let Some(index) = MINE.take() {
        STATE.with(|state| {
            let Slot { kind, database, .. } = std::mem::replace(&mut state.slots[index], Slot::FREE);
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

/// This process works on a run, at `step` (empty: on the workflow function).
pub(crate) fn set_busy(run: RunId, step: &str) {
    mine(|slot| {
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
    mine(|slot| {
        slot.run = None;
        slot.cancel = false;
        slot.step_length = 0;
        slot.since = crate::pg::clock();
    });
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

/// True if the run that this process works on was cancelled; the request counts as noticed.
pub(crate) fn take_cancel() -> bool {
    mine(|slot| std::mem::take(&mut slot.cancel)).unwrap_or(false)
}

/// Scheduler: true if extension or home may have changed since the last call.
pub(crate) fn take_recheck() -> bool {
    mine(|slot| std::mem::take(&mut slot.recheck)).unwrap_or(false)
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

/// Wakes an executor of the role, or has one started.
pub(crate) fn wake_executor(database: Oid, role: Oid) {
    STATE.with(|state| state.wake_executor(database, role));
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

/// Databases that want a scheduler and have none, except one that is being closed.
pub(crate) fn databases_without_scheduler() -> Vec<Oid> {
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

/// No worker is to be in this database until [`open_database`]: those there are told to end. True when none is left.
pub(crate) fn close_database(database: Oid) -> bool {
    STATE
        .with(|state| {
            state.closed_database = database;
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
pub(crate) fn open_database(database: Oid, wanted: bool) {
    STATE.with(|state| {
        state.closed_database = Oid::INVALID;
        if !wanted {
            for place in state.databases.iter_mut().filter(|place| **place == database) {
                *place = Oid::INVALID;
            }
        }
        state.wake_launcher();
    });
}

/// Waits of clients for the end of a run: false if there is no place (or no shared memory).
pub(crate) fn wait_for(run: RunId) -> bool {
    clean_up_at_exit();
    STATE
        .with(|state| {
            let place = state.waiters.iter_mut().find(|waiter| waiter.run.is_none())?;
            *place = Waiter {
                run: Some(run),
                pid: process::my_pid(),
                latch: LatchRef::mine(),
            };
            state.waiting += 1;
            Some(())
        })
        .flatten()
        .is_some()
}

/// Ends all waits of this process.
pub(crate) fn stop_waiting() {
    STATE.with(|state| {
        let pid = process::my_pid();
        for waiter in state
            .waiters
            .iter_mut()
            .filter(|waiter| waiter.run.is_some() && waiter.pid == pid)
        {
            waiter.run = None;
            state.waiting -= 1;
        }
    });
}

/// A committed transaction's hints, taken in at once.
pub(crate) struct Delivery<'a> {
    pub(crate) ready: &'a [Oid],
    pub(crate) timer: Option<i64>,
    pub(crate) cancelled: &'a [RunId],
    pub(crate) ended: &'a [RunId],
    pub(crate) announce: bool,
    pub(crate) dropped: bool,
    /// Owner of runs that this transaction held.
    pub(crate) held: Option<Oid>,
}

/// Wakes whom a transaction's end concerns.
pub(crate) fn deliver(delivery: &Delivery) {
    let database = process::my_database();
    STATE.with(|state| {
        for role in delivery.ready {
            state.wake_executor(database, *role);
        }
        if let Some(due) = delivery.timer {
            let waits = state
                .of(Kind::Scheduler, database)
                .next()
                .is_some_and(|slot| slot.next_due <= due);
            if !waits {
                state.wake_scheduler(database);
            }
        }
        for run in delivery.cancelled {
            for slot in state.live().filter(|slot| slot.run == Some(*run)) {
                slot.cancel = true;
                interrupt::cancel_process(slot.pid);
            }
        }
        if state.waiting > 0 {
            for waiter in state
                .waiters
                .iter()
                .filter(|w| w.run.is_some_and(|run| delivery.ended.contains(&run)))
            {
                waiter.latch.set();
            }
        }
        if delivery.announce {
            state.want_database(database);
            for slot in state.of(Kind::Scheduler, database) {
                slot.recheck = true;
                slot.latch.set();
            }
        }
        if delivery.dropped {
            for slot in state.live().filter(|slot| slot.database == database) {
                slot.quit = true;
                slot.latch.set();
            }
        }
        if let Some(role) = delivery.held
            && state.contended
        {
            state.contended = false;
            for slot in state
                .of(Kind::Executor, database)
                .filter(|slot| slot.role == role && slot.idle)
            {
                slot.latch.set();
            }
        }
    });
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
