//! Which relations queries read, noted where they are checked for privileges: as each query begins.

use std::cell::{Cell, RefCell};

use pgrx::pg_sys::{self, Oid};

use super::scope;

thread_local! {
    static WANTED: Cell<Option<fn() -> bool>> = const { Cell::new(None) };
    static NEXT: Cell<pg_sys::ExecutorCheckPerms_hook_type> = const { Cell::new(None) };
    static NOTED: RefCell<Vec<Oid>> = const { RefCell::new(Vec::new()) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// From here on the relations that queries name are noted, those of the engine and the inside of views left out, whenever
/// `wanted` says so. It is asked as each query begins and must not fail.
pub(crate) fn note_while(wanted: fn() -> bool) {
    WANTED.set(Some(wanted));
    // SAFETY: from _PG_init, once a process (inherited by fork).
    unsafe {
        NEXT.set(pg_sys::ExecutorCheckPerms_hook);
        pg_sys::ExecutorCheckPerms_hook = Some(hook);
    }
}

/// What was noted since the last call.
pub(crate) fn take() -> Vec<Oid> {
    NOTED.take()
}

/// How many relations queries have named in this process while that was wanted, those of the engine's queries among them.
pub(crate) fn count() -> u64 {
    COUNT.get()
}

fn is_wanted() -> bool {
    WANTED.get().is_some_and(|wanted| wanted())
}

/// `by_user`: in a query of user code's own, for which he needs the privilege to read.
fn note(relation: Oid, by_user: bool) {
    COUNT.set(COUNT.get() + 1);
    if !by_user || scope::is_engine() {
        return;
    }
    NOTED.with_borrow_mut(|noted| {
        if !noted.contains(&relation) {
            noted.push(relation);
        }
    });
}

#[cfg(any(feature = "pg14", feature = "pg15"))]
unsafe extern "C-unwind" fn hook(relations: *mut pg_sys::List, report: bool) -> bool {
    if is_wanted() {
        // SAFETY: the range table of a plan; what is read through a view is checked as the view's owner.
        unsafe {
            each(relations, |entry: &pg_sys::RangeTblEntry| {
                if entry.rtekind == pg_sys::RTEKind::RTE_RELATION {
                    let reads = entry.requiredPerms & pg_sys::ACL_SELECT != 0;
                    note(entry.relid, reads && entry.checkAsUser == Oid::INVALID);
                }
            });
        }
    }
    // SAFETY: the hook that was there before us, with our arguments.
    NEXT.get().is_none_or(|next| unsafe { next(relations, report) })
}

#[cfg(not(any(feature = "pg14", feature = "pg15")))]
unsafe extern "C-unwind" fn hook(relations: *mut pg_sys::List, checks: *mut pg_sys::List, report: bool) -> bool {
    if is_wanted() {
        // SAFETY: the checks of a plan; what is read through a view is checked as the view's owner.
        unsafe {
            each(checks, |check: &pg_sys::RTEPermissionInfo| {
                let reads = check.requiredPerms & u64::from(pg_sys::ACL_SELECT) != 0;
                note(check.relid, reads && check.checkAsUser == Oid::INVALID);
            });
        }
    }
    // SAFETY: the hook that was there before us, with our arguments.
    NEXT.get().is_none_or(|next| unsafe { next(relations, checks, report) })
}

/// # Safety
/// A list of nodes of type `T`.
unsafe fn each<T>(list: *mut pg_sys::List, f: impl Fn(&T)) {
    if list.is_null() {
        return;
    }
    // SAFETY: as many elements as the list says.
    unsafe {
        for i in 0..(*list).length as usize {
            f(&*(*(*list).elements.add(i)).ptr_value.cast::<T>());
        }
    }
}
