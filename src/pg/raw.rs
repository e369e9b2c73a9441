//! Declarations that pgrx leaves out, and direct ones of the few functions that run user code.
//!
//! pgrx wraps every binding in a guard that turns an ERROR into its own report type, which knows a closed set of
//! SQLSTATEs: `RAISE ... USING ERRCODE = 'P0042'` would come out as XX000. Functions under which user code may
//! raise are declared here and called through [`super::guard::protect`], which keeps the error as it was.

use core::ffi::{c_char, c_int, c_long, c_void};

use pgrx::pg_sys::{
    Datum, DestReceiver, FunctionCallInfo, List, Oid, ParamListInfo, PlannedStmt, Portal, ProcessUtilityContext,
    QueryCompletion, QueryDesc, QueryEnvironment, RawStmt, SPIExecuteOptions, SPIPlanPtr, Snapshot, varlena,
};

#[repr(C)]
pub(super) struct ErrorContextCallback {
    pub(super) previous: *mut ErrorContextCallback,
    pub(super) callback: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
    pub(super) arg: *mut c_void,
}

unsafe extern "C-unwind" {
    pub(super) fn SPI_prepare(src: *const c_char, nargs: c_int, argtypes: *mut Oid) -> SPIPlanPtr;
    pub(super) fn SPI_execute_plan(
        plan: SPIPlanPtr,
        values: *mut Datum,
        nulls: *const c_char,
        read_only: bool,
        tcount: c_long,
    ) -> c_int;
    pub(super) fn SPI_execute_with_args(
        src: *const c_char,
        nargs: c_int,
        argtypes: *mut Oid,
        values: *mut Datum,
        nulls: *const c_char,
        read_only: bool,
        tcount: c_long,
    ) -> c_int;
    pub(super) fn SPI_execute_extended(src: *const c_char, options: *const SPIExecuteOptions) -> c_int;
    pub(super) fn PostmasterIsAliveInternal() -> bool;
    pub(super) fn HoldPinnedPortals();
    pub(super) fn pq_check_connection() -> bool;
    pub(super) fn SPI_commit();
    pub(super) fn CommitTransactionCommand();
    pub(super) fn pg_detoast_datum(datum: *mut varlena) -> *mut varlena;
    pub(super) fn to_jsonb(fcinfo: FunctionCallInfo) -> Datum;
    pub(super) fn interval_in(fcinfo: FunctionCallInfo) -> Datum;
    pub(super) fn ReleaseCurrentSubTransaction();
    pub(super) fn ProcessInterrupts();
    // From PostgreSQL 18 on the name in C is a macro for the backend's own variant.
    #[cfg_attr(feature = "pg18", link_name = "pqsignal_be")]
    pub(super) fn pqsignal(signal: c_int, handler: Option<unsafe extern "C-unwind" fn(c_int)>);
    pub(super) fn die(signal: c_int);
    pub(super) fn SignalHandlerForConfigReload(signal: c_int);
    pub(super) fn SignalHandlerForCrashExit(signal: c_int);
    pub(super) fn standard_ProcessUtility(
        statement: *mut PlannedStmt,
        text: *const c_char,
        read_only_tree: bool,
        context: ProcessUtilityContext::Type,
        params: ParamListInfo,
        environment: *mut QueryEnvironment,
        destination: *mut DestReceiver,
        completion: *mut QueryCompletion,
    );

    pub(super) fn standard_ExecutorStart(query: *mut QueryDesc, flags: c_int);
    pub(super) fn pg_parse_query(text: *const c_char) -> *mut List;
    #[cfg_attr(feature = "pg14", link_name = "pg_analyze_and_rewrite")]
    fn pg_analyze_and_rewrite_fixedparams(
        statement: *mut RawStmt,
        text: *const c_char,
        types: *const Oid,
        count: c_int,
        environment: *mut QueryEnvironment,
    ) -> *mut List;
    pub(super) fn pg_plan_queries(
        queries: *mut List,
        text: *const c_char,
        options: c_int,
        params: ParamListInfo,
    ) -> *mut List;
    pub(super) fn PortalStart(portal: Portal, params: ParamListInfo, flags: c_int, snapshot: Snapshot);
    #[cfg(not(feature = "pg18"))]
    fn PortalRun(
        portal: Portal,
        count: c_long,
        top_level: bool,
        run_once: bool,
        destination: *mut DestReceiver,
        other: *mut DestReceiver,
        completion: *mut QueryCompletion,
    ) -> bool;
    #[cfg(feature = "pg18")]
    fn PortalRun(
        portal: Portal,
        count: c_long,
        top_level: bool,
        destination: *mut DestReceiver,
        other: *mut DestReceiver,
        completion: *mut QueryCompletion,
    ) -> bool;

    pub(super) fn errstart(elevel: c_int, domain: *const c_char) -> bool;
    pub(super) fn errcode(sqlerrcode: c_int) -> c_int;
    pub(super) fn errmsg_internal(fmt: *const c_char, ...) -> c_int;
    pub(super) fn errdetail_internal(fmt: *const c_char, ...) -> c_int;
    pub(super) fn errhint(fmt: *const c_char, ...) -> c_int;
    pub(super) fn errcontext_msg(fmt: *const c_char, ...) -> c_int;
    pub(super) fn errfinish(filename: *const c_char, lineno: c_int, funcname: *const c_char);
    pub(super) fn geterrcode() -> c_int;
}

/// Analyses a statement with parameters of `types`.
pub(super) unsafe fn analyze_and_rewrite(
    statement: *mut RawStmt,
    text: *const c_char,
    types: *const Oid,
    count: c_int,
) -> *mut List {
    // SAFETY: the caller's arguments.
    unsafe { pg_analyze_and_rewrite_fixedparams(statement, text, types, count, std::ptr::null_mut()) }
}

/// Runs a portal to its end, at top level.
pub(super) unsafe fn run_portal(
    portal: Portal,
    destination: *mut DestReceiver,
    other: *mut DestReceiver,
    completion: *mut QueryCompletion,
) -> bool {
    /// `FETCH_ALL` of `nodes/parsenodes.h`.
    const ALL: c_long = c_long::MAX;
    // SAFETY: the caller's arguments.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return PortalRun(portal, ALL, true, true, destination, other, completion);
        #[cfg(feature = "pg18")]
        return PortalRun(portal, ALL, true, destination, other, completion);
    }
}
