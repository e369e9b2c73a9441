//! Transactions and subtransactions with one rule: committed on success only.

use pgrx::pg_sys;

use super::errdata::PgError;
use super::guard::{self, protect};
use super::raw;

/// Runs `f` in an internal subtransaction: committed when it returns, rolled back with all its effects when an error
/// unwinds out of it. The pattern is PL/pgSQL's for EXCEPTION blocks.
pub(crate) fn subtransaction<T>(f: impl FnOnce() -> T) -> Result<T, PgError> {
    inner(f, true)
}

/// Runs `f` in an internal subtransaction that is rolled back whatever happens: only the result gets out.
pub(crate) fn trial<T>(f: impl FnOnce() -> T) -> Result<T, PgError> {
    inner(f, false)
}

fn inner<T>(f: impl FnOnce() -> T, keep: bool) -> Result<T, PgError> {
    // SAFETY: the subtransaction is ended on every path below; context and owner are those of before.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = context;
        let mut result = guard::catch(f);
        if keep && result.is_ok() {
            // Raw and protected: a release can fail (deferred work of the user's), and then it is a rollback after all.
            match guard::attempt(|| raw::ReleaseCurrentSubTransaction()) {
                Ok(()) => {
                    pg_sys::CurrentMemoryContext = context;
                    pg_sys::CurrentResourceOwner = owner;
                    return result;
                }
                Err(error) => result = Err(error),
            }
        }
        pg_sys::CurrentMemoryContext = context;
        pg_sys::RollbackAndReleaseCurrentSubTransaction();
        pg_sys::CurrentMemoryContext = context;
        pg_sys::CurrentResourceOwner = owner;
        result
    }
}

/// Runs `f` in a transaction of its own: commits on `Ok` of `f`, aborts on an error, which it returns.
///
/// For background workers, outside of any transaction. Engine work needs READ COMMITTED and may write, whatever the
/// role's or database's defaults say: claims under a transaction snapshot would fail with 40001 all day.
pub(crate) fn transaction<T>(f: impl FnOnce() -> T) -> Result<T, PgError> {
    let result = guard::catch(|| {
        // SAFETY: outside of a transaction, on the main thread; ended below.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            pg_sys::XactIsoLevel = pg_sys::XACT_READ_COMMITTED as i32;
            pg_sys::XactReadOnly = false;
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            pg_sys::SPI_connect();
        }
        let value = f();
        // SAFETY: undoes the three calls above; raw because deferred triggers run user code at commit.
        unsafe {
            pg_sys::SPI_finish();
            pg_sys::PopActiveSnapshot();
            protect(|| raw::CommitTransactionCommand());
        }
        value
    });
    if result.is_err() {
        // SAFETY: an error left the transaction open or half closed; this ends it in either case.
        unsafe { pg_sys::AbortCurrentTransaction() };
    }
    result
}

/// Runs `f` with writes outside of temporary tables refused (SQLSTATE 25006).
/// Only inside [`trial`]: its end restores the flag on every path.
pub(crate) fn set_read_only() {
    // SAFETY: a process-local flag, restored by the (sub)transaction's end.
    unsafe { pg_sys::XactReadOnly = true };
}

/// Refuses `command` on a standby and in a read-only transaction, in Postgres' own words.
pub(crate) fn require_writable(command: &core::ffi::CStr) {
    // SAFETY: both only look at this process' state, and raise 25006.
    unsafe {
        pg_sys::PreventCommandDuringRecovery(command.as_ptr());
        pg_sys::PreventCommandIfReadOnly(command.as_ptr());
    }
}

/// True in a session whose statements all see one snapshot (REPEATABLE READ and above).
pub(crate) fn one_snapshot() -> bool {
    // SAFETY: reads a process-local value.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Commits the transaction of a non-atomic procedure and begins the next one, which it does even if the commit fails.
///
/// # Errors
/// What deferred constraints and triggers raise at the commit.
pub(crate) fn commit_and_chain() -> Result<(), PgError> {
    // SAFETY: the caller runs in a SPI connection opened with SPI_OPT_NONATOMIC.
    unsafe {
        let committed = guard::attempt(|| raw::SPI_commit());
        // The portal's own snapshot went with the transaction; one of ours would be unknown to the next SPI_commit.
        pg_sys::EnsurePortalSnapshotExists();
        committed
    }
}

/// Handles pending interrupts: termination, cancel, config reload of the process.
pub(crate) fn check_for_interrupts() {
    // SAFETY: the CHECK_FOR_INTERRUPTS macro.
    unsafe {
        if pg_sys::InterruptPending != 0 {
            protect(|| raw::ProcessInterrupts());
        }
    }
}

/// Opens a SPI connection around `f`, for functions called from SQL.
pub(crate) fn with_spi<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: on an error the connection goes with the (sub)transaction.
    unsafe {
        pg_sys::SPI_connect();
        let value = f();
        pg_sys::SPI_finish();
        value
    }
}

/// Opens a SPI connection that may commit, for a procedure that was called outside of a transaction block.
pub(crate) fn with_nonatomic_spi<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: as with_spi.
    unsafe {
        pg_sys::SPI_connect_ext(pg_sys::SPI_OPT_NONATOMIC as i32);
        let value = f();
        pg_sys::SPI_finish();
        value
    }
}

/// True if a row's `xmin` is of this transaction or one of its subtransactions.
pub(crate) fn is_own(xmin: i32) -> bool {
    // SAFETY: looks at this process' own transaction state.
    unsafe { pg_sys::TransactionIdIsCurrentTransactionId(pg_sys::TransactionId::from(xmin as u32)) }
}

/// True on a standby, and while a server recovers.
pub(crate) fn in_recovery() -> bool {
    // SAFETY: looks at shared state.
    unsafe { pg_sys::RecoveryInProgress() }
}
