//! The shared memory itself: a slot for each of our processes, a place for each client that waits for a result, and who
//! wants a process started.
//!
//! One lightweight lock guards all of it; nothing under it waits or fails. Latches are set under the lock, so that a
//! slot's latch cannot belong to another process by then.

use std::sync::OnceLock;

use crate::pg::latch::LatchRef;
use crate::pg::shared::Shared;
use crate::pg::{Oid, RunId, clock};
use crate::settings;

pub(super) const PROCESSES: usize = 256;
const WAITERS: usize = 256;
const REQUESTS: usize = 64;
const DATABASES: usize = 256;
pub(super) const STEP_NAME: usize = 64;

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

/// A branch: its run, call and item.
pub(crate) type Command = (RunId, i32, i32);

/// A process of ours.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    pub(super) used: bool,
    pub(crate) kind: Kind,
    pub(crate) pid: i32,
    pub(crate) database: Oid,
    pub(crate) role: Oid,
    pub(super) latch: LatchRef,
    /// Sleeps, or is about to, and wants to be woken for work.
    pub(crate) idle: bool,
    /// Asked to end, to make room for another role's executor.
    pub(super) quit: bool,
    /// The run it works on was cancelled.
    pub(super) cancel: bool,
    /// Scheduler: extension or home may have changed.
    pub(super) recheck: bool,
    /// Scheduler: commands may have been abandoned.
    pub(super) abandoned: bool,
    /// Scheduler: wants to know when a run has ended; one has.
    pub(super) awaits_end: bool,
    pub(super) end_seen: bool,
    /// Scheduler: rules of retention have changed.
    pub(super) rules_changed: bool,
    /// The branch (run, call, item) that it runs as a command of its own, in no transaction that would hold it.
    pub(super) command: Option<Command>,
    pub(crate) run: Option<RunId>,
    pub(super) step: [u8; STEP_NAME],
    pub(super) step_length: u8,
    /// What it works on is known to take long, mostly by waiting.
    pub(super) slow: bool,
    /// When the current state began (microseconds since 2000).
    pub(crate) since: i64,
    /// Scheduler: when its next timer falls due; timers set for later need not wake it.
    pub(super) next_due: i64,
}

impl Slot {
    pub(super) const FREE: Self = Self {
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
        abandoned: false,
        awaits_end: false,
        end_seen: false,
        rules_changed: false,
        command: None,
        run: None,
        step: [0; STEP_NAME],
        step_length: 0,
        slow: false,
        since: 0,
        next_due: 0,
    };

    pub(crate) fn step(&self) -> String {
        String::from_utf8_lossy(&self.step[..usize::from(self.step_length)]).into_owned()
    }
}

/// A client that waits for the end of a run, or also for what it publishes.
#[derive(Clone, Copy)]
pub(super) struct Waiter {
    pub(super) run: Option<RunId>,
    pub(super) values: bool,
    pub(super) pid: i32,
    pub(super) latch: LatchRef,
}

/// Queues that a session can wait for one by one.
pub(super) const QUEUES: usize = 8;
const POLLERS: usize = 256;

/// A session that waits for tasks.
#[derive(Clone, Copy)]
pub(super) struct Poller {
    /// 0: free place.
    pub(super) pid: i32,
    pub(super) database: Oid,
    pub(super) latch: LatchRef,
    /// Digests of the names of its queues; none: any queue.
    pub(super) queues: [u64; QUEUES],
    pub(super) count: u8,
    /// There has been something since it last looked.
    pub(super) woken: bool,
}

#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) slots: [Slot; PROCESSES],
    pub(super) waiters: [Waiter; WAITERS],
    pub(super) waiting: usize,
    pub(super) pollers: [Poller; POLLERS],
    pub(super) polling: usize,
    /// Databases that want a scheduler (invalid: free place).
    pub(super) databases: [Oid; DATABASES],
    /// A database that is being dropped or renamed: no worker is to start there.
    pub(super) closed_database: Oid,
    /// The session that has closed it.
    pub(super) closed_by: i32,
    /// Roles that want an executor: (database, role).
    pub(super) requests: [(Oid, Oid); REQUESTS],
    /// Some executor found a run held by another: whoever lets go of runs wakes the idle.
    pub(super) contended: bool,
    /// Counts the changes of what is paused.
    pub(super) pauses: u64,
    /// Bytes of WAL that the workers of a database have written (invalid: free place).
    pub(super) wal: [(Oid, u64); DATABASES],
    /// Some scheduler wants to know when a run of its database has ended.
    pub(super) awaits_end: bool,
}

pub(super) static STATE: Shared<State> = Shared::new(c"pg_workflow");

pub(super) fn request() {
    STATE.request();
}

pub(super) fn startup() {
    STATE.startup(State {
        slots: [Slot::FREE; PROCESSES],
        waiters: [Waiter {
            run: None,
            values: false,
            pid: 0,
            latch: LatchRef::NONE,
        }; WAITERS],
        waiting: 0,
        pollers: [Poller {
            pid: 0,
            database: Oid::INVALID,
            latch: LatchRef::NONE,
            queues: [0; QUEUES],
            count: 0,
            woken: false,
        }; POLLERS],
        polling: 0,
        databases: [Oid::INVALID; DATABASES],
        closed_database: Oid::INVALID,
        closed_by: 0,
        requests: [(Oid::INVALID, Oid::INVALID); REQUESTS],
        contended: false,
        pauses: 0,
        wal: [(Oid::INVALID, 0); DATABASES],
        awaits_end: false,
    });
}

/// True if there is shared memory, that is, if the library was preloaded.
pub(crate) fn available() -> bool {
    STATE.available()
}

/// Processors that this server may use.
fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

impl State {
    pub(super) fn live(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut().filter(|slot| slot.used)
    }

    pub(super) fn of(&mut self, kind: Kind, database: Oid) -> impl Iterator<Item = &mut Slot> {
        self.live()
            .filter(move |slot| slot.kind == kind && slot.database == database)
    }

    pub(super) fn abandon_commands(&mut self, database: Oid) {
        self.of(Kind::Scheduler, database).for_each(|slot| {
            slot.abandoned = true;
            slot.latch.set();
        });
    }

    /// Tells the scheduler of a database that a run has ended, if it wants to know: once, until it asks again.
    pub(super) fn tell_end(&mut self, database: Oid) {
        let mut others = false;
        for slot in self.live().filter(|slot| slot.awaits_end) {
            if slot.database == database {
                slot.awaits_end = false;
                slot.end_seen = true;
                slot.latch.set();
            } else {
                others = true;
            }
        }
        self.awaits_end = others;
    }

    pub(super) fn wake_launcher(&mut self) {
        self.live()
            .filter(|slot| slot.kind == Kind::Launcher)
            .for_each(|slot| slot.latch.set());
    }

    pub(super) fn want_database(&mut self, database: Oid) {
        if !self.databases.contains(&database)
            && let Some(place) = self.databases.iter_mut().find(|place| **place == Oid::INVALID)
        {
            *place = database;
        }
        self.wake_launcher();
    }

    /// Wakes an idle executor of the role, or asks the scheduler for one more if the role may have it. False if neither.
    ///
    /// Of executors with quick steps only as many are woken as there are processors: more would only take turns, with
    /// fewer steps to a commit and locks held by who is not running. One that comes to a slow step says so and wakes
    /// another; one that does not know that its step is slow finds out soon, and then says so.
    pub(super) fn wake_executor(&mut self, database: Oid, role: Oid) -> bool {
        /// A step that was begun longer ago than this, in microseconds, is slow, whoever knows it.
        const QUICK: i64 = 100_000;
        let now = clock();
        let mine = |slot: &&mut Slot| slot.role == role && !slot.quit;
        let (mut count, mut quick) = (0, 0);
        let mut idle = None;
        for slot in self.of(Kind::Executor, database).filter(mine) {
            count += 1;
            // Of before the clock was set back: not known to be quick.
            quick += usize::from(!slot.idle && !slot.slow && (0..QUICK).contains(&(now - slot.since)));
            if slot.idle && idle.is_none() {
                idle = Some(slot);
            }
        }
        if quick >= processors() {
            return false;
        }
        if let Some(slot) = idle {
            slot.idle = false;
            slot.since = now;
            slot.latch.set();
            return true;
        }
        let may_have_more = count < settings::max_executors();
        if may_have_more {
            self.ask_executor(database, role);
        }
        may_have_more
    }

    pub(super) fn ask_executor(&mut self, database: Oid, role: Oid) {
        if !self.requests.contains(&(database, role))
            && let Some(place) = self.requests.iter_mut().find(|(_, role)| *role == Oid::INVALID)
        {
            *place = (database, role);
        }
        self.wake_scheduler(database);
    }

    pub(super) fn wake_scheduler(&mut self, database: Oid) {
        let scheduler = self.of(Kind::Scheduler, database).next().map(|slot| slot.latch);
        match scheduler {
            Some(latch) => latch.set(),
            None => self.want_database(database),
        }
    }
}
