//! `crashes`: runs and schedules that a process was at when it crashed.

use super::statement;
use crate::pg::{Oid, RunId, Timestamp};

statement!(COUNT, "crash_count", UUID, TEXT, TIMESTAMPTZ);
statement!(COUNT_SCHEDULE, "crash_count_schedule", UUID, TIMESTAMPTZ);
statement!(HOLD, "crash_hold", UUID, TIMESTAMPTZ, OID, TEXT, TEXT, TIMESTAMPTZ);
statement!(PAUSE_SCHEDULE, "crash_pause_schedule", UUID);
statement!(DUE, "crashes_due", TIMESTAMPTZ);
statement!(NEXT, "crashes_next");
statement!(LET_GO, "crash_let_go", UUID);
statement!(KEEP, "crash_keep", UUID);
statement!(FORGET, "crash_forget", UUID);
statement!(FORGET_ENDED, "crashes_forget_ended");

/// What has crashed the server.
pub(crate) struct Crashed {
    /// Since it last got any further.
    pub(crate) times: i32,
    pub(crate) id: String,
    pub(crate) is_schedule: bool,
}

/// Counts a crash of a run that is open.
pub(crate) fn count(run: RunId, step: &str, at: Timestamp) -> Option<Crashed> {
    COUNT.first(&[&run, &step, &at], |row| Crashed {
        times: row.need(0),
        id: row.need(1),
        is_schedule: false,
    })
}

/// Counts a crash of a schedule.
pub(crate) fn count_schedule(schedule: RunId, at: Timestamp) -> Option<Crashed> {
    COUNT_SCHEDULE.first(&[&schedule, &at], |row| Crashed {
        times: row.need(0),
        id: row.need(1),
        is_schedule: true,
    })
}

/// Holds a run that was counted until a time, or (`None`) until it is resumed. One that is paused anyway stays so.
pub(crate) fn hold(run: RunId, until: Option<Timestamp>, by: Oid, reason: &str, waiting_for: &str, at: Timestamp) {
    HOLD.run(&[&run, &until, &by, &reason, &waiting_for, &at]);
}

pub(crate) fn pause_schedule(schedule: RunId) {
    PAUSE_SCHEDULE.run(&[&schedule]);
}

/// Runs that have been held for long enough, with their pauses.
pub(crate) fn due(now: Timestamp) -> Vec<(RunId, i64)> {
    DUE.query(&[&now], |row| (row.need(0), row.need(1)))
}

/// When the next one is due.
pub(crate) fn next() -> Option<Timestamp> {
    NEXT.first(&[], |row| row.get(0)).flatten()
}

/// It is held no longer; how often it has crashed the server stays known.
pub(crate) fn let_go(run: RunId) {
    LET_GO.run(&[&run]);
}

/// A run that is held until a time is paused by somebody; false if it is not held so.
pub(crate) fn keep(run: RunId) -> bool {
    KEEP.first(&[&run], |_| ()).is_some()
}

/// Somebody takes responsibility for it.
pub(crate) fn forget(run: RunId) {
    FORGET.run(&[&run]);
}

/// What has ended, or is gone, crashes no more.
pub(crate) fn forget_ended() {
    FORGET_ENDED.run(&[]);
}
