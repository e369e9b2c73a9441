//! Instances whose code takes the server down. Such a step leaves no trace in its own transaction; what is known is which run
//! the crashed process was at ([`hands`]). The scheduler counts that before it has anything run again. The first time the run
//! goes on at once. Then it is held for longer each time, and after `pg_workflow.max_crashes` until somebody says
//! otherwise. Others are not concerned.
//!
//! What holds it is a pause, which `wf_resume` lifts. It holds also what a cancel has been sent to: what cleans up may be what
//! crashes.

use crate::hub::{hands, hints};
use crate::pg::value::timestamp_text;
use crate::pg::{PgError, RunId, Timestamp, clock, errdata, scope};
use crate::settings;
use crate::store::crashes::{self, Crashed};
use crate::store::pauses;

/// How long a run is held behind its second crash, in microseconds.
const PAUSE: i64 = 10_000_000;

/// By how much longer behind each further one, and how long at most.
const GROWTH: i64 = 6;
const MAX_PAUSE: i64 = 3_600_000_000;

/// What becomes of a run that has crashed the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    GoesOn,
    HeldUntil(Timestamp),
    SetAside,
}

fn fate(times: i32, now: Timestamp) -> Fate {
    match settings::max_crashes() {
        Some(most) if times >= most => Fate::SetAside,
        _ if times < 2 => Fate::GoesOn,
        _ => {
            let power = (times - 2).clamp(0, 10).unsigned_abs();
            Fate::HeldUntil(now + (PAUSE * GROWTH.pow(power)).min(MAX_PAUSE))
        }
    }
}

/// Counts what crashed processes of this database were at; [`hands::forget_lost`] is due once that has committed. As the engine.
pub(crate) fn count() {
    crashes::forget_ended();
    let now = clock();
    for (run, step) in hands::lost() {
        let crashed = crashes::count(run, &step, now);
        if let Some(crashed) = crashed.or_else(|| crashes::count_schedule(run, now)) {
            decide(run, &crashed, &step, now);
        }
    }
}

fn decide(run: RunId, crashed: &Crashed, step: &str, now: Timestamp) {
    let Crashed { id, times, .. } = crashed;
    let what = if crashed.is_schedule {
        "schedule"
    } else {
        "workflow instance"
    };
    let place = match step {
        "" => "its own code".to_owned(),
        step => format!("step \"{step}\""),
    };
    let crashes = match times {
        1 => "once".to_owned(),
        times => format!("{times} times"),
    };
    let (message, hint) = match fate(*times, now) {
        Fate::GoesOn => (format!("{what} \"{id}\" goes on behind a crash of the server"), None),
        // Of its times none is lost.
        Fate::HeldUntil(_) if crashed.is_schedule => return,
        Fate::HeldUntil(until) => {
            let text = format!("retry at {} (the server has crashed {crashes})", timestamp_text(until));
            crashes::hold(run, Some(until), scope::current_user(), "crash", &text, now);
            (format!("{what} \"{id}\" is held until {}", timestamp_text(until)), None)
        }
        Fate::SetAside if crashed.is_schedule => {
            crashes::pause_schedule(run);
            let hint = "Find the cause in the log before each crash; then wf_alter_schedule(name, paused => false).";
            (format!("{what} \"{id}\" is paused"), Some(hint.to_owned()))
        }
        Fate::SetAside => {
            let text = format!("resume (set aside: the server has crashed {crashes} in {place})");
            crashes::hold(run, None, scope::current_user(), "crash", &text, now);
            let hint = "Find the cause in the log before each crash; then wf_resume(id), or wf_cancel(id) before it.";
            (format!("{what} \"{id}\" is set aside"), Some(hint.to_owned()))
        }
    };
    hints::paused();
    errdata::warn(PgError {
        detail: Some(format!(
            "The server has crashed {crashes} while the process was in {place}."
        )),
        hint,
        ..PgError::new(errdata::pack(*b"01000"), message)
    });
}

/// Lets go on what has been held for long enough; returns when the next one is to.
pub(crate) fn release() -> Option<Timestamp> {
    for (run, pause) in crashes::due(clock()) {
        // Who finds the pause locked by this transaction looks again when it ends.
        hints::holding();
        crashes::let_go(run);
        if pauses::lift_one(pause) {
            // A statement of its own: behind the wait for the turns that have parked.
            pauses::release(pause).into_iter().for_each(hints::ready);
            hints::paused();
        }
    }
    crashes::next()
}
