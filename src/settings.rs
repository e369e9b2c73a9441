//! Every setting, with its unit.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static MAX_EXECUTORS: GucSetting<i32> = GucSetting::<i32>::new(4);
static EXECUTOR_IDLE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(300);
static MAX_PAYLOAD: GucSetting<i32> = GucSetting::<i32>::new(16 * 1024);
static MAX_CRASHES: GucSetting<i32> = GucSetting::<i32>::new(3);

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
    GucRegistry::define_int_guc(
        c"pg_workflow.max_crashes",
        c"Crashes of the server after which the instance that caused them is set aside.",
        c"0 never sets it aside; it is held for up to an hour behind each.",
        &MAX_CRASHES,
        0,
        1000,
        GucContext::Sighup,
        GucFlags::default(),
    );
}

/// `None`: any number.
pub(crate) fn max_crashes() -> Option<i32> {
    Some(MAX_CRASHES.get()).filter(|crashes| *crashes > 0)
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
