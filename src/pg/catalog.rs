//! Lookups in Postgres' catalogues that SQL cannot do with the caller's eyes (its `search_path`).

use std::cell::Cell;
use std::ffi::{CStr, CString};

use pgrx::IntoDatum;
use pgrx::pg_sys::{self, Datum, Oid};

use super::guard;

/// Functions and procedures that a possibly qualified name means under the `search_path` in force, best first.
/// An empty list if there is none; an unparsable name counts as none.
pub(crate) fn functions_named(name: &str) -> Vec<Oid> {
    let Ok(name) = CString::new(name) else {
        return Vec::new();
    };
    guard::catch(|| {
        let mut found = Vec::new();
        // SAFETY: lists live in the current memory context; the candidates are a plain linked list.
        unsafe {
            #[cfg(any(feature = "pg14", feature = "pg15"))]
            let names = pg_sys::stringToQualifiedNameList(name.as_ptr());
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            let names = pg_sys::stringToQualifiedNameList(name.as_ptr(), std::ptr::null_mut());
            let mut candidate =
                pg_sys::FuncnameGetCandidates(names, -1, std::ptr::null_mut(), false, false, true, true);
            while !candidate.is_null() {
                found.push((*candidate).oid);
                candidate = (*candidate).next;
            }
        }
        found
    })
    .unwrap_or_default()
}

/// The function that a text such as `f(integer)` means under the `search_path` in force.
pub(crate) fn function_signed(signature: &str) -> Option<Oid> {
    guard::catch(|| {
        // SAFETY: to_regprocedure takes a text and returns an oid or NULL.
        unsafe { pgrx::direct_function_call::<Oid>(pg_sys::to_regprocedure, &[signature.into_datum()]) }
    })
    .unwrap_or_default()
}

/// The relation that a name of one to three parts means under the `search_path` in force.
///
/// # Errors
/// Unwinds if the caller may not look into the schema, or it names another database.
pub(crate) fn relation_named(parts: &[String]) -> Option<Oid> {
    let parts: Vec<CString> = parts
        .iter()
        .filter_map(|part| CString::new(part.as_str()).ok())
        .collect();
    let part = |from_last: usize| {
        let index = parts.len().checked_sub(from_last);
        index.map_or(std::ptr::null_mut(), |index| parts[index].as_ptr().cast_mut())
    };
    // SAFETY: the names outlive the call, which copies nothing.
    let oid = unsafe {
        let range = pg_sys::makeRangeVar(part(2), part(1), -1);
        (*range).catalogname = part(3);
        let missing_ok = pg_sys::RVROption::RVR_MISSING_OK;
        pg_sys::RangeVarGetRelidExtended(range, pg_sys::NoLock as i32, missing_ok, None, std::ptr::null_mut())
    };
    (oid != Oid::INVALID).then_some(oid)
}

thread_local! {
    static FUNCTIONS_CHANGED: Cell<u64> = const { Cell::new(0) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// A number that changes whenever some function may have changed: what is cached about functions is valid for one value
/// of it.
pub(crate) fn functions_generation() -> u64 {
    extern "C-unwind" fn changed(_: Datum, _: i32, _: u32) {
        FUNCTIONS_CHANGED.set(FUNCTIONS_CHANGED.get() + 1);
    }
    if !WATCHING.replace(true) {
        // SAFETY: once a process; the callback touches a counter only.
        unsafe {
            pg_sys::CacheRegisterSyscacheCallback(
                pg_sys::SysCacheIdentifier::PROCOID as i32,
                Some(changed),
                Datum::null(),
            );
        }
    }
    FUNCTIONS_CHANGED.get()
}

/// Learns of what others have committed to the catalogues, as the beginning of a transaction does.
pub(crate) fn catch_up() {
    // SAFETY: in a transaction, with nothing of the caches in hand.
    unsafe { pg_sys::AcceptInvalidationMessages() };
}

/// Oid of our extension in this database, if it is installed.
pub(crate) fn extension() -> Option<Oid> {
    // SAFETY: a catalogue lookup.
    let oid = unsafe { pg_sys::get_extension_oid(c"pg_workflow".as_ptr(), true) };
    (oid != Oid::INVALID).then_some(oid)
}

/// Whether `role` may EXECUTE the function of this name that takes nothing, by the caches of the catalogue alone; `None` if
/// there is none.
pub(crate) fn may_execute(schema: &CStr, name: &CStr, role: Oid) -> Option<bool> {
    // SAFETY: catalogue lookups, in a transaction; the vector of no types is freed again.
    unsafe {
        let namespace = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        let no_types = pg_sys::buildoidvector(std::ptr::null(), 0);
        let function = pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as i32,
            pg_sys::Anum_pg_proc_oid as i16,
            Datum::from(name.as_ptr()),
            Datum::from(no_types),
            Datum::from(namespace),
            Datum::null(),
        );
        pg_sys::pfree(no_types.cast());
        if function == Oid::INVALID {
            return None;
        }
        let mode = pg_sys::AclMode::from(pg_sys::ACL_EXECUTE);
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let answer = pg_sys::pg_proc_aclcheck(function, role, mode);
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let answer = pg_sys::object_aclcheck(pg_sys::ProcedureRelationId, function, role, mode);
        Some(answer == pg_sys::AclResult::ACLCHECK_OK)
    }
}

/// Quotes an identifier where it needs it.
pub(crate) fn quote_identifier(name: &str) -> String {
    let Ok(name) = CString::new(name) else {
        return String::new();
    };
    // SAFETY: the result is the argument or a palloc'd text; copied at once.
    unsafe {
        core::ffi::CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr()))
            .to_string_lossy()
            .into_owned()
    }
}

/// Quotes a string constant.
pub(crate) fn quote_literal(text: &str) -> String {
    let Ok(text) = CString::new(text) else {
        return "NULL".to_owned();
    };
    // SAFETY: the result is a palloc'd text; copied at once.
    unsafe {
        core::ffi::CStr::from_ptr(pg_sys::quote_literal_cstr(text.as_ptr()))
            .to_string_lossy()
            .into_owned()
    }
}

/// Databases that can be connected to. Works without a connection to any: the catalogue is shared.
pub(crate) fn connectable_databases() -> Vec<Oid> {
    let mut found = Vec::new();
    // SAFETY: a scan of a shared catalogue, as the autovacuum launcher does it; tuples are read while pinned.
    unsafe {
        let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let row = (*tuple).t_data.cast::<u8>().add(usize::from((*(*tuple).t_data).t_hoff));
            let row = row.cast::<pg_sys::FormData_pg_database>();
            if (*row).datallowconn {
                found.push((*row).oid);
            }
        }
        pg_sys::heap_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
    }
    found
}

/// True if there is a database of this oid.
pub(crate) fn database_exists(database: Oid) -> bool {
    // SAFETY: a catalogue lookup; NULL for a missing one.
    unsafe { !pg_sys::get_database_name(database).is_null() }
}

/// Name of a database; empty for a missing one.
pub(crate) fn database_name(database: Oid) -> String {
    // SAFETY: a catalogue lookup; NULL for a missing one; the text is copied.
    unsafe {
        let name = pg_sys::get_database_name(database);
        if name.is_null() {
            return String::new();
        }
        core::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}
