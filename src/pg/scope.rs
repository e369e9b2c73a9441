//! Who runs, with which settings: the border between the engine's own SQL and the user's code.
//!
//! Engine SQL runs as the bootstrap superuser with `search_path` pinned, so that no function or operator planted in a
//! user's schema is ever found by it, and the tables need no grants. User code runs as the instance's owner with the
//! owner's `search_path`. As Postgres' own referential-integrity triggers do, the switch is of the current user
//! only, and the end of a (sub)transaction undoes it on errors.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::errdata::{INTERNAL_ERROR, PgError};
use super::interrupt;

const PINNED_SEARCH_PATH: &CStr = c"pg_catalog, pg_temp";

/// A scope that is open: what has to be set up again behind a commit in the middle of it.
#[derive(Clone)]
struct Frame {
    nest: i32,
    search_path: CString,
    /// The user whose code runs in it; `None`: the engine.
    owner: Option<Oid>,
}

thread_local! {
    /// Open scopes, outermost first.
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// Opens a level of settings with a `search_path`; closed when dropped, unwinding included (then the end of the
/// (sub)transaction puts the settings back).
struct Open {
    nest: i32,
}

impl Open {
    fn new(search_path: &CStr, owner: Option<Oid>) -> Self {
        // SAFETY: a new level, restored by the caller or by the (sub)transaction's end.
        let nest = unsafe {
            let nest = pg_sys::NewGUCNestLevel();
            set_local(c"search_path", search_path);
            nest
        };
        FRAMES.with_borrow_mut(|frames| {
            frames.push(Frame {
                nest,
                search_path: search_path.to_owned(),
                owner,
            });
        });
        Self { nest }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        FRAMES.with_borrow_mut(|frames| frames.pop());
    }
}

/// Runs `f` as the engine.
pub(crate) fn as_engine<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: user, security context and settings are put back here on success, by transaction abort on error.
    unsafe {
        let mut user = Oid::INVALID;
        let mut context = 0;
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        pg_sys::SetUserIdAndSecContext(
            Oid::from(pg_sys::BOOTSTRAP_SUPERUSERID),
            context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32,
        );
        let open = Open::new(PINNED_SEARCH_PATH, None);
        let planner = PlannerGuard::engine();
        let value = f();
        drop(planner);
        pg_sys::AtEOXact_GUC(true, open.nest);
        pg_sys::SetUserIdAndSecContext(user, context);
        value
    }
}

/// Runs `f`, which must catch every error itself, as `owner` with `search_path`. Every setting that `f` changed is put
/// back, and the engine is the current user again afterwards, whatever `f` did with `SET ROLE`.
pub(crate) fn as_owner<T>(owner: Oid, search_path: &str, f: impl FnOnce() -> T) -> T {
    let path = CString::new(search_path).unwrap_or_default();
    // SAFETY: f does not unwind (its contract), so that the lines behind it always run.
    unsafe {
        let mut user = Oid::INVALID;
        let mut context = 0;
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let open = Open::new(&path, Some(owner));
        pg_sys::SetUserIdAndSecContext(owner, 0);
        let planner = PlannerGuard::session();
        let value = interrupt::with_cancels(true, f);
        // In this order: undoing a SET sets planner variables, undoing a SET ROLE the current user once more.
        pg_sys::AtEOXact_GUC(false, open.nest);
        drop(planner);
        pg_sys::SetUserIdAndSecContext(user, context);
        value
    }
}

/// Runs `commit`, which ends the transaction and begins the next, in the middle of [`as_owner`]: outside of all scopes, as
/// the owner, and goes back into them behind it. Were the current user still another one (or settings still those of
/// a scope), deferred triggers would run under it, and an abort of the next transaction would make it the session's.
/// What user code has SET outside of steps goes with the commit.
pub(crate) fn across_commit(commit: impl FnOnce() -> Result<(), PgError>) -> Result<(), PgError> {
    let scope = FRAMES.with_borrow(|frames| Some((frames.first()?.nest, frames.last()?.owner?)));
    let Some((outermost, owner)) = scope else {
        return Err(PgError::new(INTERNAL_ERROR, "commit outside of the owner's scope"));
    };
    // SAFETY: all levels are closed, and opened again behind the commit.
    unsafe {
        pg_sys::AtEOXact_GUC(false, outermost);
        pg_sys::SetUserIdAndSecContext(owner, 0);
        super::txn::set_writable();
        let committed = commit();
        // A deferred trigger may have become another.
        pg_sys::SetUserIdAndSecContext(owner, 0);
        reopen();
        committed
    }
}

/// Puts back what the owner's code has SET in the innermost scope so far, which is [`as_owner`].
pub(crate) fn reset() {
    let Some(Frame {
        nest,
        search_path,
        owner: Some(owner),
    }) = FRAMES.with_borrow(|frames| frames.last().cloned())
    else {
        return;
    };
    // SAFETY: the level is closed and opened again with the same number.
    unsafe {
        pg_sys::AtEOXact_GUC(false, nest);
        pg_sys::SetUserIdAndSecContext(owner, 0);
        super::txn::set_writable();
        pg_sys::NewGUCNestLevel();
        set_local(c"search_path", &search_path);
    }
}

/// True unless a user's code runs.
pub(super) fn is_engine() -> bool {
    FRAMES.with_borrow(|frames| frames.last().is_none_or(|frame| frame.owner.is_none()))
}

/// Opens the levels of all open scopes again, in a new transaction, with the numbers that their ends expect.
pub(super) fn reopen() {
    let frames = FRAMES.with_borrow(Clone::clone);
    for frame in &frames {
        // SAFETY: closed by the scope's end, or by the transaction's.
        unsafe {
            let nest = pg_sys::NewGUCNestLevel();
            debug_assert_eq!(nest, frame.nest);
            set_local(c"search_path", &frame.search_path);
        }
    }
}

/// Runs `f`, part of the engine's work, as `role` without a way to become anyone else: for what evaluates that role's code
/// although it is not a step. Errors that unwind are undone by the subtransaction around.
pub(crate) fn as_restricted<T>(role: Oid, f: impl FnOnce() -> T) -> T {
    // SAFETY: user and security context are put back here or by the subtransaction's abort.
    unsafe {
        let mut user = Oid::INVALID;
        let mut context = 0;
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let restricted = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
        pg_sys::SetUserIdAndSecContext(role, restricted as i32);
        let value = f();
        pg_sys::SetUserIdAndSecContext(user, context);
        value
    }
}

/// Runs `f` with the settings that decide how Postgres prints catalogue contents at fixed values: the same function must
/// read the same in every session.
pub(crate) fn with_plain_output<T>(f: impl FnOnce() -> T) -> T {
    const PLAIN: [(&CStr, &CStr); 6] = [
        (c"datestyle", c"ISO, YMD"),
        (c"intervalstyle", c"postgres"),
        (c"timezone", c"UTC"),
        (c"extra_float_digits", c"1"),
        (c"bytea_output", c"hex"),
        (c"quote_all_identifiers", c"off"),
    ];
    with_settings(&PLAIN, f)
}

/// Runs `f` with settings at other values.
pub(crate) fn with_settings<T>(settings: &[(&CStr, &CStr)], f: impl FnOnce() -> T) -> T {
    // SAFETY: settings are put back here or by the transaction's abort.
    unsafe {
        let nest = pg_sys::NewGUCNestLevel();
        for (name, value) in settings {
            set_local(name, value);
        }
        let value = f();
        pg_sys::AtEOXact_GUC(true, nest);
        value
    }
}

/// The planner settings that engine statements are planned under. Every one of them is served by an index or by tid, in
/// tables that may be empty when a long-lived process plans it and have a million rows an hour later: a sequential scan
/// that was right then would be kept; so would a join that reads both tables. Without JIT: a disabled node's cost would have every execution compiled. The variables behind the settings are switched directly: a hundred times cheaper
/// than SET, and no user code runs meanwhile.
#[derive(Clone, Copy)]
struct Planner {
    seqscan: bool,
    bitmapscan: bool,
    sort: bool,
    hashjoin: bool,
    mergejoin: bool,
    plan_cache_mode: i32,
    jit: bool,
}

impl Planner {
    const ENGINE: Self = Self {
        seqscan: false,
        bitmapscan: false,
        sort: false,
        hashjoin: false,
        mergejoin: false,
        plan_cache_mode: pg_sys::PlanCacheMode::PLAN_CACHE_MODE_FORCE_GENERIC_PLAN as i32,
        jit: false,
    };

    fn current() -> Self {
        // SAFETY: process-local variables of the planner.
        unsafe {
            Self {
                seqscan: pg_sys::enable_seqscan,
                bitmapscan: pg_sys::enable_bitmapscan,
                sort: pg_sys::enable_sort,
                hashjoin: pg_sys::enable_hashjoin,
                mergejoin: pg_sys::enable_mergejoin,
                plan_cache_mode: pg_sys::plan_cache_mode,
                jit: pg_sys::jit_enabled,
            }
        }
    }

    fn apply(self) {
        // SAFETY: process-local variables of the planner.
        unsafe {
            pg_sys::enable_seqscan = self.seqscan;
            pg_sys::enable_bitmapscan = self.bitmapscan;
            pg_sys::enable_sort = self.sort;
            pg_sys::enable_hashjoin = self.hashjoin;
            pg_sys::enable_mergejoin = self.mergejoin;
            pg_sys::plan_cache_mode = self.plan_cache_mode;
            pg_sys::jit_enabled = self.jit;
        }
    }
}

thread_local! {
    /// While the engine's settings are in force: the session's own.
    static SESSION: Cell<Option<Planner>> = const { Cell::new(None) };
}

/// Puts settings back when dropped, unwinding included.
struct PlannerGuard {
    settings: Planner,
    session: Option<Planner>,
}

impl PlannerGuard {
    fn engine() -> Self {
        let guard = Self {
            settings: Planner::current(),
            session: SESSION.get(),
        };
        SESSION.set(guard.session.or(Some(guard.settings)));
        Planner::ENGINE.apply();
        guard
    }

    fn session() -> Self {
        let guard = Self {
            settings: Planner::current(),
            session: SESSION.take(),
        };
        if let Some(session) = guard.session {
            session.apply();
        }
        guard
    }
}

impl Drop for PlannerGuard {
    fn drop(&mut self) {
        self.settings.apply();
        SESSION.set(self.session);
    }
}

unsafe fn set_local(name: &CStr, value: &CStr) {
    // SAFETY: a setting call; Postgres copies the value.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            pgrx::PgLogLevel::ERROR as i32,
            false,
        );
    }
}

/// Releases the session-level advisory locks that user code has left behind.
pub(crate) fn release_advisory_locks() {
    /// `USER_LOCKMETHOD` of `storage/lock.h`.
    const USER_LOCKMETHOD: u16 = 2;
    // SAFETY: what pg_advisory_unlock_all() does.
    unsafe { pg_sys::LockReleaseSession(USER_LOCKMETHOD) };
}

/// The role whose privileges apply now.
pub(crate) fn current_user() -> Oid {
    // SAFETY: reads a process-local value.
    unsafe { pg_sys::GetUserId() }
}

/// True if `role` is who this session is connected as, so that no code of its can become anyone else: neither RESET ROLE
/// nor RESET SESSION AUTHORIZATION leads further.
pub(crate) fn is_session_user(role: Oid) -> bool {
    // SAFETY: reads process-local values; the process' entry keeps the role that was authenticated.
    unsafe {
        (*pg_sys::MyProc).roleId == role && pg_sys::GetSessionUserId() == role && pg_sys::GetOuterUserId() == role
    }
}

/// True if `member` has the privileges of `role`: is it, is a member of it, or is a superuser.
pub(crate) fn has_privileges_of(member: Oid, role: Oid) -> bool {
    // SAFETY: a catalogue lookup.
    unsafe { pg_sys::has_privs_of_role(member, role) }
}

/// True if there is a role of this number.
pub(crate) fn role_exists(role: Oid) -> bool {
    // SAFETY: a catalogue lookup; NULL for a missing one.
    unsafe { !pg_sys::GetUserNameFromId(role, true).is_null() }
}

/// True if `role` may see what Postgres shows of all sessions: a member of `pg_monitor`, or a superuser.
pub(crate) fn may_monitor(role: Oid) -> bool {
    has_privileges_of(role, Oid::from(pg_sys::ROLE_PG_MONITOR))
}

/// True for a superuser.
pub(crate) fn is_superuser(role: Oid) -> bool {
    // SAFETY: a catalogue lookup.
    unsafe { pg_sys::superuser_arg(role) }
}

/// The `search_path` in force, as a setting's text.
pub(crate) fn search_path() -> String {
    // SAFETY: the returned string belongs to the setting; it is copied at once.
    unsafe {
        let text = pg_sys::GetConfigOption(c"search_path".as_ptr(), true, false);
        if text.is_null() {
            String::new()
        } else {
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }
}

/// Runs `f` in a memory context of its own, which is freed behind it: what a long transaction would pile up.
/// An error that unwinds leaves the context to its parent.
pub(crate) fn with_memory<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: nothing allocated by f outlives it: results are Rust values.
    unsafe {
        let outer = pg_sys::CurrentMemoryContext;
        let inner = pg_sys::AllocSetContextCreateInternal(
            outer,
            c"pg_workflow turn".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        pg_sys::CurrentMemoryContext = inner;
        let value = f();
        pg_sys::CurrentMemoryContext = outer;
        pg_sys::MemoryContextDelete(inner);
        value
    }
}
