//! Calls whose result nobody uses: a `PERFORM` of PL/pgSQL whose query is nothing but the one call.
//!
//! PL/pgSQL tells a plugin of each statement that it begins and ends (`PLpgSQL_plugin` in `plpgsql.h`, the interface of
//! debuggers and profilers). The first query that begins in a PERFORM is its own; the call that is all of it is known by its
//! node in the plan, which the called function is given too.

use core::ffi::{c_int, c_void};
use std::cell::{Cell, UnsafeCell};

use pgrx::pg_sys;

use super::raw;

/// `PLPGSQL_STMT_PERFORM` of `plpgsql.h`, the same from PostgreSQL 14 to 18.
const PERFORM: c_int = 23;

/// The beginning of `PLpgSQL_stmt`.
#[repr(C)]
struct Statement {
    kind: c_int,
}

type OnStatement = unsafe extern "C-unwind" fn(state: *mut c_void, statement: *mut Statement);

/// `PLpgSQL_plugin`. PL/pgSQL fills in what comes behind our own functions.
#[repr(C)]
struct Plugin {
    functions: [*const c_void; 3],
    begins: OnStatement,
    ends: OnStatement,
    filled: [*const c_void; 16],
}

struct Shared(UnsafeCell<Plugin>);

// SAFETY: PL/pgSQL writes to it, on the one thread that calls into Postgres.
unsafe impl Sync for Shared {}

static PLUGIN: Shared = Shared(UnsafeCell::new(Plugin {
    functions: [std::ptr::null(); 3],
    begins: on_begin,
    ends: on_end,
    filled: [std::ptr::null(); 16],
}));

thread_local! {
    /// A PERFORM has begun, and its query has not.
    static PERFORMS: Cell<bool> = const { Cell::new(false) };
    /// The call that is all of the query of the PERFORM that runs.
    static CALL: Cell<*const pg_sys::Node> = const { Cell::new(std::ptr::null()) };
    static NEXT: Cell<pg_sys::ExecutorStart_hook_type> = const { Cell::new(None) };
    static HOOKED: Cell<bool> = const { Cell::new(false) };
}

unsafe extern "C-unwind" fn on_begin(_: *mut c_void, statement: *mut Statement) {
    // SAFETY: PL/pgSQL's statement.
    PERFORMS.set(unsafe { (*statement).kind } == PERFORM);
    CALL.set(std::ptr::null());
}

unsafe extern "C-unwind" fn on_end(_: *mut c_void, _: *mut Statement) {
    PERFORMS.set(false);
    CALL.set(std::ptr::null());
}

unsafe extern "C-unwind" fn on_query(query: *mut pg_sys::QueryDesc, flags: c_int) {
    if PERFORMS.take() {
        // SAFETY: a query that begins has a plan.
        CALL.set(unsafe { only_call((*query).plannedstmt) });
    }
    // SAFETY: the hook that was there before us, or what there is without one, with our arguments.
    unsafe {
        match NEXT.get() {
            Some(next) => next(query, flags),
            None => raw::standard_ExecutorStart(query, flags),
        }
    }
}

/// The call of `SELECT f(...)`, or null if that is not the query.
unsafe fn only_call(statement: *const pg_sys::PlannedStmt) -> *const pg_sys::Node {
    // SAFETY: nodes of a plan, looked at by their tags.
    unsafe {
        let plan = (*statement).planTree;
        if plan.is_null() || (*plan).type_ != pg_sys::NodeTag::T_Result || !(*plan).lefttree.is_null() {
            return std::ptr::null();
        }
        let columns = (*plan).targetlist;
        if columns.is_null() || (*columns).length != 1 {
            return std::ptr::null();
        }
        let column = (*(*columns).elements).ptr_value.cast::<pg_sys::TargetEntry>();
        let call = (*column).expr.cast::<pg_sys::Node>();
        if (*call).type_ == pg_sys::NodeTag::T_FuncExpr {
            call
        } else {
            std::ptr::null()
        }
    }
}

/// Runs `f`, which does not unwind, and under which [`take`] answers. Not beside another plugin: there is one place for them.
pub(crate) fn watch<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: the variable that PL/pgSQL looks at before each statement; put back before anybody else could.
    unsafe {
        let place = pg_sys::find_rendezvous_variable(c"PLpgSQL_plugin".as_ptr());
        if !(*place).is_null() {
            return f();
        }
        if !HOOKED.replace(true) {
            NEXT.set(pg_sys::ExecutorStart_hook);
            pg_sys::ExecutorStart_hook = Some(on_query);
        }
        PERFORMS.set(false);
        CALL.set(std::ptr::null());
        *place = PLUGIN.0.get().cast();
        let value = f();
        *place = std::ptr::null_mut();
        PERFORMS.set(false);
        CALL.set(std::ptr::null());
        value
    }
}

/// True if `call`, the node by which a function knows how it is called, is one whose result nobody uses; once.
pub(super) fn take(call: *const pg_sys::Node) -> bool {
    let same = !call.is_null() && CALL.get() == call;
    if same {
        CALL.set(std::ptr::null());
    }
    same
}
