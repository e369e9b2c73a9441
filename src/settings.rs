//! Every setting, with its unit.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static MAX_EXECUTORS: GucSetting<i32> = GucSetting::<i32>::new(4);
static EXECUTOR_IDLE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(300);
static MAX_PAYLOAD: GucSetting<i32> = GucSetting::<i32>::new(16 * 1024);
// Read by the views that they are for.
static ALERT_STEP: GucSetting<i32> = GucSetting::<i32>::new(3600);
static ALERT_WAIT: GucSetting<i32> = GucSetting::<i32>::new(300);
static RETENTION: GucSetting<i32> = GucSetting::<i32>::new(30 * 86_400);
static BACKGROUND_PURGE: GucSetting<bool> = GucSetting::<bool>::new(true);

/// Defines the settings; from `_PG_init`.
pub(crate) fn define() {
    GucRegistry::define_int_guc(
        c"pg_workflow.max_executors",
        c"Executors that one role may have in one database.",
        c"Each takes a slot of max_worker_processes while it lives.",
        &MAX_EXECUTORS,
        1,
        64,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_workflow.executor_idle_timeout",
        c"Time after which an executor without work ends.",
        c"0 keeps it until another role needs its slot.",
        &EXECUTOR_IDLE_TIMEOUT,
        0,
        86_400,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"pg_workflow.max_payload",
        c"Largest input, result or signal.",
        c"In the binary form of jsonb.",
        &MAX_PAYLOAD,
        1,
        1024 * 1024 - 1,
        GucContext::Suset,
        GucFlags::UNIT_KB,
    );
    for (name, what, setting) in [
        (
            c"pg_workflow.alert_step",
            c"Time after which a step that runs is an alert.",
            &ALERT_STEP,
        ),
        (
            c"pg_workflow.alert_wait",
            c"Time after which something that is ready, in a queue or blocked by a lock is an alert.",
            &ALERT_WAIT,
        ),
    ] {
        GucRegistry::define_int_guc(
            name,
            what,
            c"For the view wf.alerts.",
            setting,
            1,
            31_536_000,
            GucContext::Userset,
            GucFlags::UNIT_S,
        );
    }
    GucRegistry::define_int_guc(
        c"pg_workflow.retention",
        c"Time after its end at which an instance is removed in the background.",
        c"-1 keeps it for ever. Rules of wf_retention() come first.",
        &RETENTION,
        -1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_bool_guc(
        c"pg_workflow.background_purge",
        c"Removes instances in the background when their time of retention is over.",
        c"Off: nothing is removed but by wf_purge().",
        &BACKGROUND_PURGE,
        GucContext::Sighup,
        GucFlags::default(),
    );
}

pub(crate) fn max_executors() -> usize {
    MAX_EXECUTORS.get() as usize
}

/// Microseconds; `None`: without limit.
pub(crate) fn executor_idle_timeout() -> Option<i64> {
    Some(i64::from(EXECUTOR_IDLE_TIMEOUT.get()) * 1_000_000).filter(|micros| *micros > 0)
}

/// Bytes.
pub(crate) fn max_payload() -> usize {
    MAX_PAYLOAD.get() as usize * 1024
}

/// Microseconds; `None`: for ever.
pub(crate) fn retention() -> Option<i64> {
    Some(i64::from(RETENTION.get()) * 1_000_000).filter(|micros| *micros >= 0)
}

pub(crate) fn background_purge() -> bool {
    BACKGROUND_PURGE.get()
}
