//! `dedup` and `joined`: of what has one key for duplicates, only one is open in a queue.

use super::statement;
use crate::pg::RunId;

statement!(INSERT, "dedup_insert", INT4, BOOL, TEXT, UUID, INT4);
statement!(RUN, "dedup_run", INT4, TEXT);
statement!(DELETE, "dedup_delete", INT4, BOOL, TEXT, UUID, INT4);
statement!(JOIN, "dedup_join", INT4, TEXT, UUID, INT4, INT4);
statement!(LOCK, "dedup_lock", INT4, TEXT, UUID, INT4);
statement!(SUCCEED, "dedup_succeed", INT4, TEXT);
statement!(TAKE, "joined_take", INT4, TEXT);
statement!(LEAVE, "joined_leave", UUID, INT4);

/// A key for duplicates of one queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) queue_id: i32,
    pub(crate) key: &'a str,
}

/// A call that waits for the task of another.
pub(crate) struct Joined {
    pub(crate) run_id: RunId,
    pub(crate) n: i32,
    pub(crate) priority: i16,
}

/// Takes a key for a run; or returns the id of the open run that has it. Waits for a transaction that is about to take it, or
/// to give it back.
pub(crate) fn take_for_run(key: Key, run: RunId) -> Result<(), String> {
    loop {
        if INSERT.run(&[&key.queue_id, &true, &key.key, &run, &0]) > 0 {
            return Ok(());
        }
        // Neither if it was given back in between.
        if let Some(id) = RUN.first(&[&key.queue_id, &key.key], |row| row.get(0)).flatten() {
            return Err(id);
        }
    }
}

/// Takes a key for the task of a call, or joins the task that has it; true if it was taken.
pub(crate) fn take_or_join(key: Key, run: RunId, n: i32, priority: i32) -> bool {
    loop {
        if INSERT.run(&[&key.queue_id, &false, &key.key, &run, &n]) > 0 {
            return true;
        }
        if JOIN.run(&[&key.queue_id, &key.key, &run, &n, &priority]) > 0 {
            return false;
        }
    }
}

/// Gives the key of a run back.
pub(crate) fn give_back(key: Key, run: RunId) {
    DELETE.run(&[&key.queue_id, &true, &key.key, &run, &0]);
}

/// The task of a call, which has the key, has ended; returns the calls that have joined it.
pub(crate) fn end(key: Key, run: RunId, n: i32) -> Vec<Joined> {
    let joined = DELETE.first(&[&key.queue_id, &false, &key.key, &run, &n], |row| row.need(0));
    if joined.unwrap_or(0) == 0 {
        return Vec::new();
    }
    // A statement of its own: behind the wait for those that are joining.
    TAKE.query(&[&key.queue_id, &key.key], |row| Joined {
        run_id: row.need(0),
        n: row.need(1),
        priority: row.need(2),
    })
}

/// The task of a call, which has the key, has come to nothing; returns the call that has the key from now on.
pub(crate) fn succeed(key: Key, run: RunId, n: i32) -> Option<Joined> {
    LOCK.first(&[&key.queue_id, &key.key, &run, &n], |row| row.need::<i32>(0))?;
    let next = SUCCEED.first(&[&key.queue_id, &key.key], |row| Joined {
        run_id: row.need(0),
        n: row.need(1),
        priority: row.need(2),
    });
    if next.is_none() {
        DELETE.run(&[&key.queue_id, &false, &key.key, &run, &n]);
    }
    next
}

/// Calls of a run, or one of them, wait no more for the tasks of others.
pub(crate) fn leave(run: RunId, n: Option<i32>) {
    LEAVE.run(&[&run, &n]);
}
