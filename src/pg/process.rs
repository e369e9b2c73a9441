//! Background workers as processes: registration, signals, connection, what they show in `pg_stat_activity`.

use std::ffi::CString;

use pgrx::pg_sys::{self, Datum, Oid};

use super::raw;
use super::value::Timestamp;

/// A background worker to start.
pub(crate) struct WorkerSpec<'a> {
    /// What `pg_stat_activity.backend_type` says.
    pub(crate) kind: &'a str,
    /// What `ps` says.
    pub(crate) title: &'a str,
    /// Name of the exported function.
    pub(crate) function: &'a str,
    pub(crate) database: Oid,
    pub(crate) role: Oid,
}

fn build(spec: &WorkerSpec) -> pg_sys::BackgroundWorker {
    let mut worker = pg_sys::BackgroundWorker {
        bgw_flags: (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as i32,
        // Nothing runs on a standby; after promotion this is the moment.
        bgw_start_time: pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished,
        bgw_restart_time: pg_sys::BGW_NEVER_RESTART,
        bgw_main_arg: Datum::from(spec.database),
        ..Default::default()
    };
    copy_text(&mut worker.bgw_name, spec.title);
    copy_text(&mut worker.bgw_type, spec.kind);
    copy_text(&mut worker.bgw_library_name, "pg_workflow");
    copy_text(&mut worker.bgw_function_name, spec.function);
    for (to, from) in worker.bgw_extra.iter_mut().zip(spec.role.to_u32().to_ne_bytes()) {
        *to = from as core::ffi::c_char;
    }
    worker
}

fn copy_text(to: &mut [core::ffi::c_char], text: &str) {
    let room = to.len() - 1;
    for (to, from) in to.iter_mut().zip(text.bytes().take(room)) {
        *to = from as core::ffi::c_char;
    }
}

/// Registers a worker that the postmaster starts and restarts. Only while the library is preloaded.
pub(crate) fn register_static(spec: &WorkerSpec) {
    let mut worker = build(spec);
    worker.bgw_restart_time = 1;
    // SAFETY: called from _PG_init in the postmaster; Postgres copies the record.
    unsafe { pg_sys::RegisterBackgroundWorker(&mut worker) };
}

/// Starts a worker now; false if no slot of `max_worker_processes` is free. Its start and end set our latch.
pub(crate) fn start_dynamic(spec: &WorkerSpec) -> bool {
    let mut worker = build(spec);
    // SAFETY: MyProcPid is ours; Postgres copies the record.
    unsafe {
        worker.bgw_notify_pid = pg_sys::MyProcPid;
        pg_sys::RegisterDynamicBackgroundWorker(&mut worker, std::ptr::null_mut())
    }
}

/// Handlers first, then unblocking: a SIGTERM in between would be lost or would kill without cleaning up.
/// `die` makes fast shutdown and `pg_terminate_backend` interrupt a running statement; the default handler of
/// background workers exits from within the signal handler, and pgrx' only sets a flag.
pub(crate) fn install_signal_handlers() {
    // SAFETY: handlers that Postgres' own backends use. SIGINT (cancel) is set up by the worker's start code.
    unsafe {
        raw::pqsignal(SIGTERM, Some(raw::die));
        raw::pqsignal(SIGHUP, Some(raw::SignalHandlerForConfigReload));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Calls `f` when the postmaster ends this worker at once, mostly since another process has crashed; `f` must not do more than a
/// signal handler may. Who crashes by himself is not told.
pub(crate) fn before_quitting(f: fn()) {
    static BEFORE: std::sync::OnceLock<fn()> = std::sync::OnceLock::new();
    unsafe extern "C-unwind" fn quit(signal: i32) {
        if let Some(f) = BEFORE.get() {
            f();
        }
        // SAFETY: the handler that workers have for this signal; does not return.
        unsafe { raw::SignalHandlerForCrashExit(signal) };
    }
    BEFORE.get_or_init(|| f);
    // SAFETY: a handler that only writes to memory before it hands over.
    unsafe { raw::pqsignal(SIGQUIT, Some(quit)) };
}

const SIGHUP: i32 = 1;
const SIGQUIT: i32 = 3;
const SIGTERM: i32 = 15;

/// Connects this worker to a database as `role` (invalid: the bootstrap superuser) for the rest of its life.
/// Without a database only shared catalogues can be read.
pub(crate) fn connect(database: Option<Oid>, role: Option<Oid>) {
    // SAFETY: once a process, before any transaction.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnectionByOid(
            database.unwrap_or(Oid::INVALID),
            role.unwrap_or(Oid::INVALID),
            0,
        );
    }
}

/// The role that the starter passed along.
pub(crate) fn passed_role() -> Oid {
    // SAFETY: MyBgworkerEntry is set in every background worker.
    unsafe {
        let extra = (*pg_sys::MyBgworkerEntry).bgw_extra;
        Oid::from(u32::from_ne_bytes([
            extra[0] as u8,
            extra[1] as u8,
            extra[2] as u8,
            extra[3] as u8,
        ]))
    }
}

/// Reloads the configuration if a SIGHUP asked for it.
pub(crate) fn reload_if_asked() {
    // SAFETY: flag set by the handler above.
    unsafe {
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

/// Ends this process if the postmaster is gone: an orphan would block the server's restart. Who waits on a latch is told;
/// who works without a pause has to look.
pub(crate) fn exit_if_orphaned() {
    // SAFETY: reads a pipe.
    unsafe {
        if !raw::PostmasterIsAliveInternal() {
            pg_sys::proc_exit(1);
        }
    }
}

/// Shows `text` as the current query of this process in `pg_stat_activity`.
pub(crate) fn report_running(text: &str) {
    report(pg_sys::BackendState::STATE_RUNNING, text);
}

/// Shows this process as idle; the last text stays, as it does for sessions.
pub(crate) fn report_idle() {
    // SAFETY: NULL keeps the text.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null()) };
}

fn report(state: pg_sys::BackendState::Type, text: &str) {
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    // SAFETY: the text is copied to shared memory.
    unsafe { pg_sys::pgstat_report_activity(state, text.as_ptr()) };
}

/// Sends the statistics counters collected so far, as backends do when they go idle.
pub(crate) fn report_stats() {
    // SAFETY: outside of a transaction.
    unsafe { pg_sys::pgstat_report_stat(true) };
}

/// Bytes of WAL that this process has written.
pub(crate) fn wal_bytes() -> u64 {
    // SAFETY: this process' own counters.
    unsafe { pg_sys::pgWalUsage.wal_bytes }
}

/// Runs `f` when this process ends, however it ends short of SIGKILL.
pub(crate) fn at_exit(f: unsafe extern "C-unwind" fn(i32, Datum)) {
    // SAFETY: f is a plain function of ours.
    unsafe { pg_sys::on_shmem_exit(Some(f), Datum::null()) };
}

/// When the server was started; a crash from which it has recovered by itself is none.
pub(crate) fn server_started() -> Timestamp {
    // SAFETY: written before any process of the server is made.
    unsafe { pg_sys::PgStartTime }
}

pub(crate) fn my_pid() -> i32 {
    // SAFETY: constant after start.
    unsafe { pg_sys::MyProcPid }
}

/// False if this session's client has gone. Postgres itself finds that out when it next sends something.
pub(crate) fn client_is_there() -> bool {
    // SAFETY: a background worker has no port, and no client to lose.
    unsafe { pg_sys::MyProcPort.is_null() || raw::pq_check_connection() }
}

pub(crate) fn my_database() -> Oid {
    // SAFETY: constant after connecting.
    unsafe { pg_sys::MyDatabaseId }
}

/// True while `shared_preload_libraries` are being loaded.
pub(crate) fn preloading() -> bool {
    // SAFETY: set by the postmaster.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// True in a server that pg_upgrade has started.
pub(crate) fn is_binary_upgrade() -> bool {
    // SAFETY: set at start.
    unsafe { pg_sys::IsBinaryUpgrade }
}

/// The body of a worker's main function: an error that nobody handled ends the process as an ERROR in the log.
pub(crate) fn main(body: impl FnOnce()) {
    super::guard::entry(|| {
        body();
        Ok(())
    });
}

/// Defines the exported main function `$name` of a worker.
macro_rules! worker_main {
    ($name:ident, $body:path) => {
        #[unsafe(no_mangle)]
        extern "C-unwind" fn $name(arg: pgrx::pg_sys::Datum) {
            let database = pgrx::pg_sys::Oid::from(arg.value() as u32);
            $crate::pg::process::main(|| $body(database));
        }
    };
}
pub(crate) use worker_main;
