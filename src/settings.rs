//! Every setting, with its unit.

use std::ffi::CString;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

use crate::pg::{messages, process};

static MAX_EXECUTORS: GucSetting<i32> = GucSetting::<i32>::new(4);
static EXECUTOR_IDLE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(300);
static MAX_PAYLOAD: GucSetting<i32> = GucSetting::<i32>::new(16 * 1024);
// Read by the views that they are for.
static ALERT_STEP: GucSetting<i32> = GucSetting::<i32>::new(3600);
static ALERT_WAIT: GucSetting<i32> = GucSetting::<i32>::new(300);
static RETENTION: GucSetting<i32> = GucSetting::<i32>::new(30 * 86_400);
static BACKGROUND_PURGE: GucSetting<bool> = GucSetting::<bool>::new(true);
static LOG_LEVEL: GucSetting<LogLevel> = GucSetting::<LogLevel>::new(LogLevel::Notice);
static LOG_LINES: GucSetting<i32> = GucSetting::<i32>::new(100);
static LOG_LINES_PER_RUN: GucSetting<i32> = GucSetting::<i32>::new(1000);
static METRICS: GucSetting<bool> = GucSetting::<bool>::new(true);
static METRICS_WORKFLOWS: GucSetting<i32> = GucSetting::<i32>::new(100);
static TRACEPARENT: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Least severity of the messages that are kept.
#[derive(Debug, Clone, Copy, PostgresGucEnum)]
enum LogLevel {
    #[name = c"debug"]
    Debug,
    #[name = c"log"]
    Log,
    #[name = c"notice"]
    Notice,
    #[name = c"warning"]
    Warning,
    #[name = c"off"]
    Off,
}
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
    GucRegistry::define_enum_guc(
        c"pg_workflow.log_level",
        c"Least severity of the messages of steps that are kept in wf.logs.",
        c"INFO is kept at every level but off.",
        &LOG_LEVEL,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_workflow.log_lines",
        c"Messages of one attempt of a step that are kept in wf.logs.",
        c"The first ones; 0 keeps none.",
        &LOG_LINES,
        0,
        10_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_workflow.log_lines_per_run",
        c"Messages of one run that are kept in wf.logs.",
        c"The first ones, and one that says that there were more.",
        &LOG_LINES_PER_RUN,
        0,
        1_000_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"pg_workflow.metrics",
        c"Counts what happens, for wf.stats and wf_metrics().",
        c"In shared memory: the counters begin anew when the server starts.",
        &METRICS,
        GucContext::Suset,
        GucFlags::default(),
    );
    if process::preloading() {
        // Postgres refuses such a setting at any other time.
        GucRegistry::define_int_guc(
            c"pg_workflow.metrics_workflows",
            c"Workflows that are counted one by one, those of each database and owner apart.",
            c"Each takes 33 kB of shared memory; what comes after them is counted together.",
            &METRICS_WORKFLOWS,
            1,
            10_000,
            GucContext::Postmaster,
            GucFlags::default(),
        );
    }
    GucRegistry::define_string_guc(
        c"pg_workflow.traceparent",
        c"W3C trace context that started workflows belong to.",
        c"Of the form 00-<trace id>-<parent id>-<flags>, in hexadecimal digits; empty: none.",
        &TRACEPARENT,
        GucContext::Userset,
        GucFlags::default(),
    );
}

/// `None`: nothing is kept.
pub(crate) fn log_level() -> Option<i32> {
    match LOG_LEVEL.get() {
        LogLevel::Debug => Some(messages::DEBUG),
        LogLevel::Log => Some(messages::LOG),
        LogLevel::Notice => Some(messages::NOTICE),
        LogLevel::Warning => Some(messages::WARNING),
        LogLevel::Off => None,
    }
}

pub(crate) fn log_lines() -> usize {
    LOG_LINES.get() as usize
}

pub(crate) fn log_lines_per_run() -> usize {
    LOG_LINES_PER_RUN.get() as usize
}

pub(crate) fn metrics() -> bool {
    METRICS.get()
}

pub(crate) fn metrics_workflows() -> usize {
    METRICS_WORKFLOWS.get() as usize
}

pub(crate) fn traceparent() -> Option<String> {
    let text = TRACEPARENT.get()?.to_string_lossy().into_owned();
    Some(text).filter(|text| !text.is_empty())
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

/// Microseconds; `None`: for ever.
pub(crate) fn retention() -> Option<i64> {
    Some(i64::from(RETENTION.get()) * 1_000_000).filter(|micros| *micros >= 0)
}

pub(crate) fn background_purge() -> bool {
    BACKGROUND_PURGE.get()
}
