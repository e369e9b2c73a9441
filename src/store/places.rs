//! `task_queue`: places in queues, of what waits and of what runs.

use super::branches::Branch;
use super::statement;
use super::tasks::Task;
use crate::pg::spi::Row;
use crate::pg::{RunId, Timestamp};

statement!(NEXT, "place_next", INT4, BOOL, INT4);
statement!(NEXT_PRIORITY, "place_next_priority", INT4, BOOL, INT4);
statement!(NEXT_KEY, "place_next_key", INT4, BOOL, INT4, TEXT, INT4);
statement!(OF_KEY, "place_of_key", INT4, BOOL, INT4, TEXT, INT8);
statement!(OLDEST, "queue_oldest", INT4, INT4);
statement!(RUN, "place_run", INT4, BOOL, INT4, TEXT, INT8);
statement!(INSERT, "place_insert", INT4, INT4, TEXT, UUID, INT4, TIMESTAMPTZ);
statement!(DELETE, "place_delete", INT4, BOOL, INT4, TEXT, INT8);
statement!(REMOVE, "place_remove", INT4, INT4, TEXT, INT8);
statement!(
    INSERT_UNITS,
    "units_insert",
    INT4,
    BOOL,
    INT4,
    TEXT,
    UUID,
    INT4,
    INT4,
    INT4,
    TIMESTAMPTZ
);
statement!(STAND, "unit_stand", UUID, INT4, INT4);
statement!(LEAVE, "unit_leave", UUID, INT4, INT4);
statement!(WITHDRAW, "units_withdraw", UUID, INT4);
statement!(PASS_ON, "unit_pass_on", UUID, UUID);

/// A place that waits, locked.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) run_id: RunId,
    pub(crate) n: i32,
    pub(crate) item: i32,
    pub(crate) queue_id: i32,
    pub(crate) priority: i16,
    pub(crate) key: String,
    pub(crate) seq: i64,
    /// Of a step or run; else of a task.
    pub(crate) inside: bool,
}

impl Place {
    /// What it is the place of, unless that is a task.
    pub(crate) fn unit(&self) -> Branch {
        Branch {
            run_id: self.run_id,
            n: self.n,
            item: self.item,
        }
    }
}

fn read(queue_id: i32) -> impl Fn(&Row) -> Place {
    move |row| Place {
        run_id: row.need(0),
        n: row.need(1),
        item: row.need(2),
        queue_id,
        priority: row.need(3),
        key: row.need(4),
        seq: row.need(5),
        inside: row.need(6),
    }
}

/// The next places of a queue, whatever their keys, leaving out those that others have locked.
pub(crate) fn next(queue: i32, inside: bool, count: u32) -> Vec<Place> {
    NEXT.query(&[&queue, &inside, &(count as i32)], read(queue))
}

/// The best priority behind another of what waits.
pub(crate) fn next_priority(queue: i32, inside: bool, after: i32) -> Option<i32> {
    NEXT_PRIORITY.first(&[&queue, &inside, &after], |row| i32::from(row.need::<i16>(0)))
}

/// The next key of a priority behind `after` that has something waiting, and of which fewer run than `limit`; after the last
/// comes the first.
pub(crate) fn next_key(queue: i32, inside: bool, priority: i32, after: &str, limit: Option<i32>) -> Option<String> {
    let from = |first: &str| NEXT_KEY.first(&[&queue, &inside, &priority, &first, &limit], |row| row.need(0));
    // What comes next behind a text, byte by byte.
    from(&format!("{after}\u{1}")).or_else(|| from(""))
}

/// The next place of a key, behind `after`, leaving out those that others have locked.
pub(crate) fn of_key(queue: i32, inside: bool, priority: i32, key: &str, after: i64) -> Option<Place> {
    OF_KEY.first(&[&queue, &inside, &priority, &key, &after], read(queue))
}

/// What has waited longest among the next `count`, unless another has it locked.
pub(crate) fn oldest(queue: i32, count: i32) -> Option<Place> {
    OLDEST.first(&[&queue, &count], read(queue))
}

/// What has the place runs from now on.
pub(crate) fn run(place: &Place) {
    let Place {
        queue_id, inside, seq, ..
    } = place;
    RUN.run(&[queue_id, inside, &i32::from(place.priority), &&*place.key, seq]);
}

// --- of tasks --------------------------------------------------------------------------------------------------------

/// Puts a task back into its queue, at the end.
pub(crate) fn enqueue(task: &mut Task, now: Timestamp) {
    let (priority, run, n) = (i32::from(task.priority), task.run_id, task.n);
    let seq = INSERT.first(&[&task.queue_id, &priority, &&*task.key, &run, &n, &now], |row| {
        row.need(0)
    });
    if let Some(seq) = seq {
        task.seq = seq;
    }
}

/// Takes the place of a task out of its queue; false if another has it locked.
pub(crate) fn dequeue(task: &Task, running: bool) -> bool {
    let priority = i32::from(task.priority);
    DELETE.run(&[&task.queue_id, &running, &priority, &&*task.key, &task.seq]) > 0
}

/// Takes a place that is not its task's any more out of the queue.
pub(crate) fn sweep(place: &Place) {
    let priority = i32::from(place.priority);
    DELETE.run(&[&place.queue_id, &false, &priority, &&*place.key, &place.seq]);
}

/// Takes the place of a task that runs out of its queue, waiting for who has it locked.
pub(crate) fn remove(task: &Task) {
    REMOVE.run(&[&task.queue_id, &i32::from(task.priority), &&*task.key, &task.seq]);
}

// --- of steps and runs -----------------------------------------------------------------------------------------------

/// Items `first` to `last` of a call; or a run, as item 0 of call 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Units {
    pub(crate) run_id: RunId,
    pub(crate) n: i32,
    pub(crate) first: i32,
    pub(crate) last: i32,
}

impl From<Branch> for Units {
    fn from(unit: Branch) -> Self {
        Self {
            run_id: unit.run_id,
            n: unit.n,
            first: unit.item,
            last: unit.item,
        }
    }
}

/// A run as it stands in a queue.
pub(crate) fn whole(run_id: RunId) -> Branch {
    Branch { run_id, n: 0, item: 0 }
}

/// Puts steps or a run into a queue; `running`: they are admitted at once.
pub(crate) fn insert(units: Units, queue: i32, running: bool, priority: i32, key: &str, now: Timestamp) {
    let Units {
        run_id, n, first, last, ..
    } = units;
    INSERT_UNITS.run(&[&queue, &running, &priority, &key, &run_id, &n, &first, &last, &now]);
}

/// Is a step or run admitted? `None`: it has no place.
pub(crate) fn is_admitted(unit: Branch) -> Option<bool> {
    STAND.first(&[&unit.run_id, &unit.n, &unit.item], |row| row.need(0))
}

/// A queue in which a place was given back.
pub(crate) struct Left {
    pub(crate) queue_id: i32,
    /// Others may have it.
    pub(crate) serves: bool,
    pub(crate) queue: String,
    /// Workers listen for it.
    pub(crate) notifies: bool,
}

/// Gives the place of a step or run back. `None`: it has none, or whoever admits it just now has it.
pub(crate) fn leave(unit: Branch) -> Option<Left> {
    LEAVE.first(&[&unit.run_id, &unit.n, &unit.item], |row| Left {
        queue_id: row.need(0),
        serves: row.need(1),
        queue: row.need(2),
        notifies: row.need(3),
    })
}

/// Takes the steps of a call out of their queue that wait in it; of all calls, without `n`.
pub(crate) fn withdraw(run: RunId, n: Option<i32>) {
    WITHDRAW.run(&[&run, &n]);
}

/// The place of a run, and its key for duplicates, go over to the next run of its id.
pub(crate) fn pass_on(run: RunId, next: RunId) {
    PASS_ON.run(&[&run, &next]);
}
