//! What the current transaction has made ready, told to other processes when it commits.
//!
//! Rows are the truth and hints only make it quick: a hint is given after the commit that makes its row visible, a
//! rolled-back subtransaction may leave one too many, and none is needed for correctness but to end a sleep.

use std::cell::RefCell;
use std::collections::HashSet;

use super::state::{Kind, STATE};
use super::{metrics, pollers};
use crate::pg::{Oid, RunId, Timestamp, callback, clock, fault, interrupt, process};

#[derive(Default)]
struct Pending {
    ready: Vec<Oid>,
    timer: Option<Timestamp>,
    cancelled: Vec<RunId>,
    ended: Vec<RunId>,
    /// Queues in which there may be something to claim.
    queues: Vec<u64>,
    published: Vec<RunId>,
    /// Runs that this transaction has started: nobody else can see them yet.
    started: HashSet<RunId>,
    paused: bool,
    retention: bool,
    announce: bool,
    dropped: bool,
    /// This transaction held runs: who found one of them locked waits for its end.
    held: bool,
    /// Rows were written whose wake-up needs this process at commit.
    effects: bool,
}

impl Pending {
    /// True for who waits for the end of a run that has ended, or for `values` of one that has published some.
    fn concerns(&self, run: RunId, values: bool) -> bool {
        self.ended.contains(&run) || (values && self.published.contains(&run))
    }
}

thread_local! {
    static PENDING: RefCell<Pending> = RefCell::new(Pending::default());
}

/// From here on the end of each transaction of this process is acted on.
pub(super) fn watch() {
    callback::at_transaction_end(on_end, has_effects);
}

fn note(effects: bool, f: impl FnOnce(&mut Pending)) {
    watch();
    PENDING.with_borrow_mut(|pending| {
        pending.effects |= effects;
        f(pending);
    });
}

fn has_effects() -> bool {
    PENDING.with_borrow(|pending| pending.effects)
}

fn on_end(committed: bool) {
    metrics::on_end(committed);
    let pending = PENDING.take();
    if committed {
        if pending.held {
            fault("committed");
        }
        deliver(&pending);
    } else if pending.held {
        deliver(&Pending {
            held: true,
            ..Pending::default()
        });
    }
}

/// A scheduler that has not seen to a timer for so many microseconds is late, and woken by the next.
const LATE: i64 = 1_000_000;

/// Wakes whom a transaction's end concerns.
fn deliver(pending: &Pending) {
    let database = process::my_database();
    STATE.with(|state| {
        // First: who is woken below is to know of it. A restored dump may bring pauses along.
        if pending.paused || pending.announce {
            state.pauses += 1;
        }
        for role in &pending.ready {
            state.wake_executor(database, *role);
        }
        if let Some(due) = pending.timer {
            // One that is late does not know that the clock was set forward; one that has nothing to do here says so by the least.
            let late = i64::MIN + 1..clock() - LATE;
            let waits = state
                .of(Kind::Scheduler, database)
                .next()
                .is_some_and(|slot| slot.next_due <= due && !late.contains(&slot.next_due));
            if !waits {
                state.wake_scheduler(database);
            }
        }
        for run in &pending.cancelled {
            for slot in state.live().filter(|slot| slot.run == Some(*run)) {
                slot.cancel = true;
                interrupt::cancel_process(slot.pid);
            }
        }
        if state.awaits_end && !pending.ended.is_empty() {
            state.tell_end(database);
        }
        if state.waiting > 0 {
            for waiter in state
                .waiters
                .iter()
                .filter(|w| w.run.is_some_and(|run| pending.concerns(run, w.values)))
            {
                waiter.latch.set();
            }
        }
        pollers::wake(state, database, &pending.queues, pending.paused);
        if pending.retention {
            for slot in state.of(Kind::Scheduler, database) {
                slot.rules_changed = true;
                slot.latch.set();
            }
        }
        if pending.announce {
            state.want_database(database);
            for slot in state.of(Kind::Scheduler, database) {
                slot.recheck = true;
                slot.latch.set();
            }
            // What they remember may be of another schema; the scheduler starts new ones if it finds that all fits.
            for slot in state.of(Kind::Executor, database) {
                slot.quit = true;
                slot.latch.set();
            }
        }
        if pending.dropped {
            for slot in state.live().filter(|slot| slot.database == database) {
                slot.quit = true;
                slot.latch.set();
            }
        }
        if pending.held && std::mem::take(&mut state.contended) {
            // Whoever set a run aside looks again, also one that is on its way to sleep; which run it was is not kept.
            for slot in state.live().filter(|slot| slot.kind == Kind::Executor) {
                slot.latch.set();
            }
        }
    });
}

/// A run of this role is ready.
pub(crate) fn ready(owner: Oid) {
    note(true, |pending| {
        if !pending.ready.contains(&owner) {
            pending.ready.push(owner);
        }
    });
}

/// A timer was set.
pub(crate) fn timer(due: Timestamp) {
    note(true, |pending| {
        pending.timer = Some(pending.timer.map_or(due, |other| other.min(due)))
    });
}

/// A run was started.
pub(crate) fn started(run: RunId) {
    note(true, |pending| {
        pending.started.insert(run);
    });
}

/// True if this very transaction has started the run.
pub(crate) fn started_here(run: RunId) -> bool {
    PENDING.with_borrow(|pending| pending.started.contains(&run))
}

/// A run was cancelled: whoever runs it is to be interrupted.
pub(crate) fn cancelled(run: RunId) {
    note(true, |pending| pending.cancelled.push(run));
}

/// A run has ended: whoever waits for it is to be woken.
pub(crate) fn ended(run: RunId) {
    note(true, |pending| pending.ended.push(run));
}

/// There may be something to claim in a queue of tasks.
pub(crate) fn tasks(queue: &str) {
    let queue = pollers::digest(queue);
    note(true, |pending| {
        if !pending.queues.contains(&queue) {
            pending.queues.push(queue);
        }
    });
}

/// A pause was set or lifted.
pub(crate) fn paused() {
    note(true, |pending| pending.paused = true);
}

/// Rules of retention have changed.
pub(crate) fn retention() {
    note(false, |pending| pending.retention = true);
}

/// A run has published something: whoever waits for that is to be woken.
pub(crate) fn published(run: RunId) {
    note(true, |pending| {
        if pending.published.last() != Some(&run) {
            pending.published.push(run);
        }
    });
}

/// Runs `f`, whose work is rolled back: nobody is told of what it notes, and what was noted before stays.
pub(crate) fn unheard<T>(f: impl FnOnce() -> T) -> T {
    struct Before(Option<Pending>);
    impl Drop for Before {
        fn drop(&mut self) {
            PENDING.set(self.0.take().unwrap_or_default());
        }
    }
    let _before = Before(Some(PENDING.take()));
    f()
}

/// This database has the extension, or something about it changed that its scheduler should look at.
pub(crate) fn announce() {
    note(false, |pending| pending.announce = true);
}

/// The extension is being dropped.
pub(crate) fn dropped() {
    note(false, |pending| pending.dropped = true);
}

/// This transaction holds runs.
pub(crate) fn holding() {
    note(false, |pending| pending.held = true);
}
