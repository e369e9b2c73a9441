//! `schedules`: what starts workflows at its times.

use super::branches::Branch;
use super::{statement, timers};
use crate::pg::spi::Row;
use crate::pg::{Json, Oid, RunId, Timestamp};

statement!(INSERT, "schedule_insert", UUID, TEXT, OID, TIMESTAMPTZ);
statement!(FIND, "schedule_find", TEXT, OID, OID, BOOL);
statement!(GET, "schedule_get", UUID);
statement!(LOCK, "schedule_lock", UUID);
statement!(TRY_LOCK, "schedule_try_lock", UUID, OID);
statement!(DELETE, "schedule_delete", UUID);
statement!(OWNER, "schedule_owner", UUID);
statement!(OPEN, "schedule_open", TEXTS);
statement!(WAKE, "schedules_wake", INT4, INT4);
statement!(INPUT, "schedule_input", JSONB, TEXT, TIMESTAMPTZ);
statement!(DELETE_TIMER, "task_timer_delete", TIMESTAMPTZ, UUID, INT4, INT4);
statement!(
    UPDATE,
    "schedule_update",
    UUID,
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    JSONB,
    JSONB,
    TEXT,
    TEXT,
    INT8,
    INT8,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    BOOL,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    TIMESTAMPTZ,
    TEXT,
    TEXTS,
    INT8,
    INT8,
    INT8,
    INT8,
    INT4,
    JSONB,
    TIMESTAMPTZ
);

/// The unit of work by which timers and hints know a schedule.
pub(crate) fn unit(schedule: RunId) -> Branch {
    Branch {
        run_id: schedule,
        n: timers::SCHEDULE,
        item: 1,
    }
}

pub(crate) fn is_schedule(unit: Branch) -> bool {
    unit.n == timers::SCHEDULE
}

/// A row: first what the user has said, then how it stands.
pub(crate) struct Schedule {
    pub(crate) id: RunId,
    pub(crate) owner: Oid,
    pub(crate) name: String,
    pub(crate) schedule: String,
    pub(crate) time_zone: String,
    pub(crate) workflow: Option<String>,
    pub(crate) command: Option<String>,
    pub(crate) search_path: String,
    pub(crate) input: Json,
    pub(crate) options: Json,
    pub(crate) overlap: String,
    pub(crate) catch_up: String,
    pub(crate) catch_up_window: Option<i64>,
    pub(crate) jitter: i64,
    pub(crate) starts_at: Option<Timestamp>,
    pub(crate) ends_at: Option<Timestamp>,
    pub(crate) paused: bool,

    pub(crate) after_at: Timestamp,
    pub(crate) next_at: Option<Timestamp>,
    pub(crate) timer_at: Option<Timestamp>,
    pub(crate) queued_at: Option<Timestamp>,
    pub(crate) asked_at: Option<Timestamp>,
    pub(crate) last_tick: Option<Timestamp>,
    pub(crate) fired_at: Option<Timestamp>,
    pub(crate) fired_due: Option<Timestamp>,
    pub(crate) last_id: Option<String>,
    pub(crate) open_ids: Vec<String>,
    pub(crate) fired: i64,
    pub(crate) missed: i64,
    pub(crate) skipped: i64,
    pub(crate) failed: i64,
    pub(crate) failures: i32,
    pub(crate) error: Option<Json>,
    pub(crate) failed_at: Option<Timestamp>,
}

fn read(row: &Row) -> Schedule {
    Schedule {
        id: row.need(0),
        owner: row.need(1),
        name: row.need(2),
        schedule: row.need(3),
        time_zone: row.need(4),
        workflow: row.get(5),
        command: row.get(6),
        search_path: row.need(7),
        input: row.need(8),
        options: row.need(9),
        overlap: row.need(10),
        catch_up: row.need(11),
        catch_up_window: row.get(12),
        jitter: row.need(13),
        starts_at: row.get(14),
        ends_at: row.get(15),
        paused: row.need(16),
        after_at: row.need(17),
        next_at: row.get(18),
        timer_at: row.get(19),
        queued_at: row.get(20),
        asked_at: row.get(21),
        last_tick: row.get(22),
        fired_at: row.get(23),
        fired_due: row.get(24),
        last_id: row.get(25),
        open_ids: row.need::<Vec<Option<String>>>(26).into_iter().flatten().collect(),
        fired: row.need(27),
        missed: row.need(28),
        skipped: row.need(29),
        failed: row.need(30),
        failures: row.need(31),
        error: row.get(32),
        failed_at: row.get(33),
    }
}

/// Inserts a row that holds a name; false if the owner has a schedule of that name. Waits for a transaction that is inserting
/// the same.
pub(crate) fn insert(id: RunId, name: &str, owner: Oid, now: Timestamp) -> bool {
    INSERT.first(&[&id, &name, &owner, &now], |_| ()).is_some()
}

/// Schedules of a name that `role` may control, with their owners, its own first.
pub(crate) fn find(name: &str, role: Oid, all: bool, owner: Option<Oid>) -> Vec<(RunId, Oid)> {
    FIND.query(&[&name, &role, &owner, &all], |row| (row.need(0), row.need(1)))
}

pub(crate) fn get(id: RunId) -> Option<Schedule> {
    GET.first(&[&id], read)
}

/// Locks a schedule to change it.
pub(crate) fn lock(id: RunId) -> Option<Schedule> {
    LOCK.first(&[&id], read)
}

/// Locks a schedule of `owner`'s to act on it, unless somebody has it locked.
pub(crate) fn try_lock(id: RunId, owner: Oid) -> Option<Schedule> {
    TRY_LOCK.first(&[&id, &owner], read)
}

/// Whose it is, locked or not.
pub(crate) fn owner(id: RunId) -> Option<Oid> {
    OWNER.first(&[&id], |row| row.need(0))
}

/// Writes a schedule, under its lock.
pub(crate) fn update(schedule: &Schedule) {
    UPDATE.run(&[
        &schedule.id,
        &schedule.schedule,
        &schedule.time_zone,
        &schedule.workflow,
        &schedule.command,
        &schedule.search_path,
        &schedule.input,
        &schedule.options,
        &schedule.overlap,
        &schedule.catch_up,
        &schedule.catch_up_window,
        &schedule.jitter,
        &schedule.starts_at,
        &schedule.ends_at,
        &schedule.paused,
        &schedule.after_at,
        &schedule.next_at,
        &schedule.timer_at,
        &schedule.queued_at,
        &schedule.asked_at,
        &schedule.last_tick,
        &schedule.fired_at,
        &schedule.fired_due,
        &schedule.last_id,
        &schedule.open_ids,
        &schedule.fired,
        &schedule.missed,
        &schedule.skipped,
        &schedule.failed,
        &schedule.failures,
        &schedule.error,
        &schedule.failed_at,
    ]);
}

pub(crate) fn delete(id: RunId) {
    DELETE.run(&[&id]);
}

pub(crate) fn delete_timer(due: Timestamp, id: RunId) {
    let unit = unit(id);
    DELETE_TIMER.run(&[&due, &unit.run_id, &unit.n, &unit.item]);
}

/// Makes those ready that are for the start of the server, and have not acted on this one.
pub(crate) fn wake_for_start(priority: i32) {
    WAKE.run(&[&priority, &timers::SCHEDULE]);
}

/// Those of some instances that are open.
pub(crate) fn open(ids: &Vec<String>) -> Vec<String> {
    OPEN.query(&[ids], |row| row.need(0))
}

/// An input, which is an object, with a tick under `key`.
pub(crate) fn input_with(input: &Json, key: &str, tick: Timestamp) -> Option<Json> {
    INPUT.first(&[input, &key, &tick], |row| row.need(0))
}
