//! `queues`: what tasks, steps and runs wait in, with their limits.

use super::branches::Branch;
use super::statement;
use crate::pg::spi::Row;
use crate::pg::{Oid, RunId, Timestamp};

statement!(FIND, "queue_find", OID, TEXT);
statement!(GET, "queue_get", INT4);
statement!(INSERT, "queue_insert", OID, TEXT, TIMESTAMPTZ);
statement!(
    SET,
    "queue_set",
    INT4,
    INT4,
    INT4,
    INT8,
    BOOL,
    TEXTS,
    TIMESTAMPTZ,
    INT4,
    INT4,
    BOOL,
    BOOL
);
statement!(NOTIFY, "queue_notify", TEXT);
statement!(OPEN, "queues_open", TEXTS, OID);
statement!(LOCK, "queue_lock", INT4);
statement!(TRY_LOCK, "queue_try_lock", INT4);
statement!(SERVED, "queue_served", INT4, FLOAT8, TIMESTAMPTZ, TEXT, TIMESTAMPTZ);
statement!(RUNNING, "queue_running", INT4, INT4);
statement!(WAITING, "queue_waiting", INT4, INT4);
statement!(RUNS_TASKS, "queue_runs_tasks", INT4);

/// A queue, for who puts something into it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue {
    pub(crate) id: i32,
    /// It has a limit that may hold back what is put into it.
    pub(crate) limited: bool,
    pub(crate) max_backlog: Option<i32>,
    /// When the backlog is full; else the new one is rejected.
    pub(crate) drops_oldest: bool,
    /// Workers listen for it.
    pub(crate) notifies: bool,
}

fn read(row: &Row) -> Queue {
    Queue {
        id: row.need(0),
        limited: row.need(1),
        max_backlog: row.get(2),
        drops_oldest: row.need(3),
        notifies: row.need(4),
    }
}

/// The queue of an owner by its name; made if there is none.
pub(crate) fn find(owner: Oid, name: &str, now: Timestamp) -> Queue {
    loop {
        if let Some(queue) = FIND.first(&[&owner, &name], read) {
            return queue;
        }
        INSERT.run(&[&owner, &name, &now]);
    }
}

pub(crate) fn get(id: i32) -> Option<Queue> {
    GET.first(&[&id], read)
}

/// What is to be changed of a queue.
pub(crate) struct Change<'a> {
    pub(crate) max_running: Option<i32>,
    pub(crate) max_running_per_key: Option<i32>,
    pub(crate) rate: Option<i32>,
    pub(crate) per: Option<i64>,
    pub(crate) max_backlog: Option<i32>,
    pub(crate) drops_oldest: Option<bool>,
    pub(crate) notifies: Option<bool>,
    pub(crate) paused: Option<bool>,
    pub(crate) workers: Option<&'a Vec<String>>,
}

/// Changes a queue.
pub(crate) fn set(queue: i32, change: &Change, now: Timestamp) {
    let Change {
        max_running,
        max_running_per_key,
        rate,
        per,
        max_backlog,
        drops_oldest,
        notifies,
        paused,
        workers,
    } = change;
    SET.run(&[
        &queue,
        max_running,
        rate,
        per,
        paused,
        workers,
        &now,
        max_running_per_key,
        max_backlog,
        drops_oldest,
        notifies,
    ]);
}

/// Tells those who LISTEN, when this transaction commits.
pub(crate) fn notify(name: &str) {
    NOTIFY.run(&[&name]);
}

/// A queue that may be claimed from.
pub(crate) struct Open {
    pub(crate) id: i32,
    pub(crate) limited: bool,
    pub(crate) name: String,
    /// What is next in it has keys.
    pub(crate) keyed: bool,
    /// Something is paused: tasks of it are not to be claimed.
    pub(crate) pauses: bool,
}

/// Queues of these names that `role` may claim from and that are not paused.
pub(crate) fn open(names: &Vec<String>, role: Oid) -> Vec<Open> {
    OPEN.query(&[names, &role], |row| Open {
        id: row.need(0),
        limited: row.need(1),
        name: row.need(2),
        keyed: row.need(3),
        pauses: row.need(4),
    })
}

/// A queue that this transaction has locked.
pub(crate) struct Locked {
    pub(crate) max_running: Option<i32>,
    pub(crate) rate: Option<i32>,
    pub(crate) per: Option<i64>,
    pub(crate) tokens: Option<f64>,
    pub(crate) filled_at: Timestamp,
    pub(crate) max_running_per_key: Option<i32>,
    /// The key that was served last.
    pub(crate) last_key: String,
    pub(crate) serve_at: Option<Timestamp>,
    pub(crate) paused: bool,
}

fn read_locked(row: &Row) -> Locked {
    Locked {
        max_running: row.get(0),
        rate: row.get(1),
        per: row.get(2),
        tokens: row.get(3),
        filled_at: row.need(4),
        max_running_per_key: row.get(5),
        last_key: row.need(6),
        serve_at: row.get(7),
        paused: row.need(8),
    }
}

/// Locks a queue, waiting for who has it.
pub(crate) fn lock(queue: i32) -> Option<Locked> {
    LOCK.first(&[&queue], read_locked)
}

/// Locks a queue unless another has it.
pub(crate) fn try_lock(queue: i32) -> Option<Locked> {
    TRY_LOCK.first(&[&queue], read_locked)
}

/// Writes what serving a locked queue has left.
pub(crate) fn served(queue: i32, locked: &Locked) {
    SERVED.run(&[
        &queue,
        &locked.tokens,
        &locked.filled_at,
        &&*locked.last_key,
        &locked.serve_at,
    ]);
}

/// What runs of a queue, counted up to a limit.
pub(crate) fn running(queue: i32, limit: i32) -> i32 {
    RUNNING.first(&[&queue, &limit], |row| row.need(0)).unwrap_or(0)
}

/// What waits in a queue, counted up to a limit.
pub(crate) fn waiting(queue: i32, limit: i32) -> i32 {
    WAITING.first(&[&queue, &limit], |row| row.need(0)).unwrap_or(0)
}

/// True if tasks of a queue run: their ends do not always tell those that wait inside.
pub(crate) fn runs_tasks(queue: i32) -> bool {
    RUNS_TASKS.first(&[&queue], |_| ()).is_some()
}

// --- hints and timers ------------------------------------------------------------------------------------------------

/// The item by which timers and hints know that they are about a queue.
const ITEM: i32 = i32::MAX - 1;

/// The unit of work that is to look what may be admitted of a queue.
pub(crate) fn unit(queue: i32) -> Branch {
    let mut run_id = RunId([0; 16]);
    run_id.0[12..].copy_from_slice(&queue.to_be_bytes());
    Branch {
        run_id,
        n: queue,
        item: ITEM,
    }
}

/// The queue that such a unit is about.
pub(crate) fn of_unit(unit: Branch) -> Option<i32> {
    (unit.item == ITEM).then_some(unit.n)
}
