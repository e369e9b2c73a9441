//! Transactions and subtransactions with one rule: committed on success only.

use std::cell::Cell;

use pgrx::pg_sys;

use super::errdata::PgError;
use super::guard::{self, protect};
use super::raw;
use crate::error::Error;

/// Runs `f` in an internal subtransaction: committed when it returns, rolled back with all its effects when an error
/// unwinds out of it. The pattern is PL/pgSQL's for EXCEPTION blocks.
pub(crate) fn subtransaction<T>(f: impl FnOnce() -> T) -> Result<T, PgError> {
    inner(|| Ok(f()), true)
}

/// Runs `f` in an internal subtransaction that is rolled back whatever happens: only the result gets out. An error that `f`
/// returns need not unwind to get here.
pub(crate) fn trial<T>(f: impl FnOnce() -> Result<T, PgError>) -> Result<T, PgError> {
    inner(f, false)
}

fn inner<T>(f: impl FnOnce() -> Result<T, PgError>, keep: bool) -> Result<T, PgError> {
    // SAFETY: the subtransaction is ended on every path below; context and owner are those of before.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = context;
        let mut result = guard::catch(f).flatten();
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

thread_local! {
    static PORTAL: Cell<pg_sys::Portal> = const { Cell::new(std::ptr::null_mut()) };
}

/// The portal that a worker's transactions run in. What commits in the middle (SPI_commit) wants one: it owns the snapshot
/// that the commit replaces, and the memory that outlives it. It counts as active for the life of the process, so
/// that no end of a transaction, no CLOSE ALL and no DISCARD ALL of user code drops it.
unsafe fn portal() -> pg_sys::Portal {
    // SAFETY: called outside of a transaction: the portal belongs to none, and no resource owner of one owns it.
    unsafe {
        if PORTAL.get().is_null() {
            let portal = pg_sys::CreatePortal(c"pg_workflow".as_ptr(), false, false);
            pg_sys::ResourceOwnerDelete((*portal).resowner);
            (*portal).resowner = std::ptr::null_mut();
            (*portal).cleanup = None;
            (*portal).visible = false;
            (*portal).createLevel = 1;
            (*portal).status = pg_sys::PortalStatus::PORTAL_ACTIVE;
            PORTAL.set(portal);
        }
        PORTAL.get()
    }
}

/// Runs `f` in a transaction of its own: commits on `Ok` of `f`, aborts on an error, which it returns.
///
/// For background workers, outside of any transaction. Engine work needs READ COMMITTED and may write, whatever the
/// role's or database's defaults say: claims under a transaction snapshot would fail with 40001 all day.
pub(crate) fn transaction<T>(f: impl FnOnce() -> T) -> Result<T, PgError> {
    // SAFETY: outside of a transaction, on the main thread; what is begun here is ended below.
    let portal = unsafe { portal() };
    let result = guard::catch(|| {
        // SAFETY: as above.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            set_characteristics();
            pg_sys::ActivePortal = portal;
            pg_sys::PortalContext = (*portal).portalContext;
            pg_sys::EnsurePortalSnapshotExists();
            // What SPI goes back to at its end has to be there still behind a commit in the middle.
            pg_sys::CurrentMemoryContext = (*portal).portalContext;
            pg_sys::SPI_connect_ext(pg_sys::SPI_OPT_NONATOMIC as i32);
        }
        let value = f();
        // SAFETY: undoes the calls above; raw because deferred triggers run user code at commit.
        unsafe {
            pg_sys::SPI_finish();
            pg_sys::PopActiveSnapshot();
            (*portal).portalSnapshot = std::ptr::null_mut();
            protect(|| raw::CommitTransactionCommand());
        }
        value
    });
    // SAFETY: an error left the transaction open or half closed; the abort ends it in either case. What the transaction
    // has left in the portal's memory goes here, as nothing else would take it.
    unsafe {
        if result.is_err() {
            pg_sys::AbortCurrentTransaction();
        }
        (*portal).portalSnapshot = std::ptr::null_mut();
        pg_sys::ActivePortal = std::ptr::null_mut();
        pg_sys::PortalContext = std::ptr::null_mut();
        pg_sys::MemoryContextReset((*portal).portalContext);
    }
    result
}

unsafe fn set_characteristics() {
    // SAFETY: at the very beginning of a transaction.
    unsafe {
        pg_sys::XactIsoLevel = pg_sys::XACT_READ_COMMITTED as i32;
        pg_sys::XactReadOnly = false;
    }
}

/// From here on writes outside of temporary tables are refused (SQLSTATE 25006).
/// Only inside [`trial`]: its end restores the flag on every path.
pub(crate) fn set_read_only() {
    // SAFETY: a process-local flag, restored by the (sub)transaction's end.
    unsafe { pg_sys::XactReadOnly = true };
}

/// Runs `f`, user code that may call procedures which commit: read-only as under [`set_read_only`], and without the right
/// to end the transaction itself, by which it would throw away or make durable what is not its own.
///
/// An error leaves the transaction as it is: to be aborted by the caller.
pub(crate) fn deciding_at_top_level<T>(f: impl FnOnce() -> T) -> Result<T, PgError> {
    forbid_end(true);
    let result = guard::catch(f);
    if forbid_end(false) {
        // Its levels of settings have gone with the transaction; who closes them finds them again.
        super::scope::reopen();
        return result.and(Err(Error::TransactionEnded.into()));
    }
    result
}

/// To be called by user code under [`deciding_at_top_level`] before [`acting_at_top_level`]: has the loops that are open read
/// the rest of their queries, which a commit would have them do as if they were the engine's work.
///
/// # Errors
/// Unwinds if the transaction was ended, and with what the queries raise.
pub(crate) fn prepare_to_act() {
    if ENDED.get() {
        guard::throw(Error::TransactionEnded.into());
    }
    // SAFETY: what SPI_commit does first.
    unsafe { protect(|| raw::HoldPinnedPortals()) };
}

/// Runs `f`, the engine's work, in the middle of [`deciding_at_top_level`].
pub(crate) fn acting_at_top_level<T>(f: impl FnOnce() -> T) -> T {
    forbid_end(false);
    let value = f();
    forbid_end(true);
    value
}

thread_local! {
    static END_FORBIDDEN: Cell<bool> = const { Cell::new(false) };
    static ENDED: Cell<bool> = const { Cell::new(false) };
}

/// True if the transaction was ended while that was forbidden, for [`super::callback`] to refuse or for us to learn of.
fn forbid_end(forbidden: bool) -> bool {
    super::callback::watch_transactions();
    // SAFETY: a process-local flag, reset by the transaction's end.
    unsafe { pg_sys::XactReadOnly = forbidden };
    END_FORBIDDEN.set(forbidden);
    ENDED.replace(false)
}

/// Allows writes, behind user code that may have SET the transaction read-only itself.
pub(crate) fn set_writable() {
    // SAFETY: a process-local flag, reset by the transaction's end.
    unsafe { pg_sys::XactReadOnly = false };
}

/// From the callback at a transaction's end: is a commit to be refused?
pub(super) fn refuses_commit() -> bool {
    END_FORBIDDEN.get()
}

/// From the callback behind a transaction's abort.
pub(super) fn note_abort() {
    ENDED.set(END_FORBIDDEN.get());
}

/// True outside of all subtransactions: nothing but the transaction's own end can take back what is done here.
pub(crate) fn at_top_level() -> bool {
    // SAFETY: reads process-local state.
    unsafe { pg_sys::GetCurrentTransactionNestLevel() == 1 }
}

/// The id by which the current transaction's rows are known (`xmin`), as [`is_own`] takes it.
pub(crate) fn current_id() -> i32 {
    // SAFETY: assigns an id if there is none.
    unsafe { u32::from(pg_sys::GetCurrentTransactionId()) as i32 }
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
        set_characteristics();
        // The portal's own snapshot went with the transaction; one of ours would be unknown to the next SPI_commit.
        pg_sys::EnsurePortalSnapshotExists();
        committed
    }
}

/// Commits the transaction of a non-atomic procedure that is about to sleep. The next one has begun by then, as a procedure is
/// always in one, and is empty until [`end_rest`]: no snapshot, no id, no lock.
///
/// # Errors
/// What deferred constraints and triggers raise at the commit.
pub(crate) fn commit_and_rest() -> Result<(), PgError> {
    // SAFETY: the caller runs in a SPI connection opened with SPI_OPT_NONATOMIC.
    unsafe {
        let committed = guard::attempt(|| raw::SPI_commit());
        set_characteristics();
        committed
    }
}

/// Goes on behind [`commit_and_rest`].
pub(crate) fn end_rest() {
    // SAFETY: gives the procedure's portal a snapshot, if it has none.
    unsafe { pg_sys::EnsurePortalSnapshotExists() };
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

/// How deep in subtransactions this process is: 1 in a transaction's own level.
pub(crate) fn nest_level() -> i32 {
    // SAFETY: looks at this process' own transaction state.
    unsafe { pg_sys::GetCurrentTransactionNestLevel() }
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
