//! What Postgres calls when a transaction ends or an object goes.

use core::ffi::c_void;
use std::cell::Cell;

use pgrx::pg_sys::{self, Oid};

thread_local! {
    static ON_END: Cell<Option<fn(bool)>> = const { Cell::new(None) };
    static REFUSE_PREPARE: Cell<Option<fn() -> bool>> = const { Cell::new(None) };
}

/// Calls `on_end(committed)` after the end of every top-level transaction of this process, and `has_effects` when a
/// transaction is about to be prepared for two-phase commit: if it says yes, PREPARE is refused.
/// `on_end` must not fail: the transaction is over. Registered at first call only.
pub(crate) fn at_transaction_end(on_end: fn(committed: bool), has_effects: fn() -> bool) {
    ON_END.set(Some(on_end));
    REFUSE_PREPARE.set(Some(has_effects));
    watch_transactions();
}

/// Registers for the ends of transactions; once a process.
pub(super) fn watch_transactions() {
    thread_local! {
        static WATCHING: Cell<bool> = const { Cell::new(false) };
    }
    unsafe extern "C-unwind" fn callback(event: pg_sys::XactEvent::Type, _: *mut c_void) {
        match event {
            pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT => super::guard::entry(|| {
                if super::txn::refuses_commit() {
                    return Err(crate::error::Error::TransactionEnded);
                }
                Ok(())
            }),
            pg_sys::XactEvent::XACT_EVENT_COMMIT => end(true),
            pg_sys::XactEvent::XACT_EVENT_ABORT => {
                super::txn::note_abort();
                end(false);
            }
            pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE => super::guard::entry(|| {
                if REFUSE_PREPARE.get().is_some_and(|has_effects| has_effects()) {
                    return Err(crate::error::Error::PrepareTransaction);
                }
                Ok(())
            }),
            _ => {}
        }
    }
    fn end(committed: bool) {
        if let Some(on_end) = ON_END.get() {
            on_end(committed);
        }
    }
    if !WATCHING.replace(true) {
        // SAFETY: once a process.
        unsafe { pg_sys::RegisterXactCallback(Some(callback), std::ptr::null_mut()) };
    }
}

type OnSubtransactionEnd = fn(committed: bool, level: i32);

thread_local! {
    static ON_SUBTRANSACTION_END: Cell<Option<OnSubtransactionEnd>> = const { Cell::new(None) };
}

/// Calls `on_end(committed, level)` at the end of every subtransaction of this process, while that is still the innermost: level
/// 2 is one right below the transaction. It must not fail. Registered at first call only.
pub(crate) fn at_subtransaction_end(on_end: OnSubtransactionEnd) {
    unsafe extern "C-unwind" fn callback(
        event: pg_sys::SubXactEvent::Type,
        _: pg_sys::SubTransactionId,
        _: pg_sys::SubTransactionId,
        _: *mut c_void,
    ) {
        let committed = match event {
            pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => true,
            pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => false,
            _ => return,
        };
        if let Some(on_end) = ON_SUBTRANSACTION_END.get() {
            on_end(committed, super::txn::nest_level());
        }
    }
    if ON_SUBTRANSACTION_END.replace(Some(on_end)).is_none() {
        // SAFETY: once a process.
        unsafe { pg_sys::RegisterSubXactCallback(Some(callback), std::ptr::null_mut()) };
    }
}

thread_local! {
    static ON_EXTENSION_DROP: Cell<Option<fn()>> = const { Cell::new(None) };
    static NEXT_ACCESS_HOOK: Cell<pg_sys::object_access_hook_type> = const { Cell::new(None) };
}

/// Calls `f` when an extension is about to be dropped in this process, by whatever command.
pub(crate) fn on_extension_drop(f: fn()) {
    unsafe extern "C-unwind" fn hook(
        access: pg_sys::ObjectAccessType::Type,
        class: Oid,
        object: Oid,
        sub_object: i32,
        arg: *mut c_void,
    ) {
        if access == pg_sys::ObjectAccessType::OAT_DROP
            && class == pg_sys::ExtensionRelationId
            && super::guard::catch(super::catalog::extension).ok().flatten() == Some(object)
            && let Some(f) = ON_EXTENSION_DROP.get()
        {
            f();
        }
        if let Some(next) = NEXT_ACCESS_HOOK.get() {
            // SAFETY: the hook that was there before us, with our arguments.
            unsafe { next(access, class, object, sub_object, arg) };
        }
    }
    ON_EXTENSION_DROP.set(Some(f));
    // SAFETY: from _PG_init, once a process (inherited by fork).
    unsafe {
        NEXT_ACCESS_HOOK.set(pg_sys::object_access_hook);
        pg_sys::object_access_hook = Some(hook);
    }
}

thread_local! {
    static BEFORE_DATABASE_COMMAND: Cell<Option<fn(Oid)>> = const { Cell::new(None) };
    static AFTER_DATABASE_COMMAND: Cell<Option<fn(Oid)>> = const { Cell::new(None) };
    static NEXT_UTILITY_HOOK: Cell<pg_sys::ProcessUtility_hook_type> = const { Cell::new(None) };
}

/// Calls `before(database)` ahead of, and `after(database)` behind, each command that needs a database without
/// sessions (DROP DATABASE, ALTER DATABASE ... RENAME or SET TABLESPACE, CREATE DATABASE ... TEMPLATE), if the current
/// user owns the database and so may expect the command to work. DROP EXTENSION of ours counts, too: it would wait for
/// the end of every step that is running.
pub(crate) fn around_database_commands(before: fn(Oid), after: fn(Oid)) {
    BEFORE_DATABASE_COMMAND.set(Some(before));
    AFTER_DATABASE_COMMAND.set(Some(after));
    // SAFETY: from _PG_init, once a process (inherited by fork).
    unsafe {
        NEXT_UTILITY_HOOK.set(pg_sys::ProcessUtility_hook);
        pg_sys::ProcessUtility_hook = Some(utility);
    }
}

#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const core::ffi::c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: Postgres' own arguments, passed on unchanged.
    unsafe {
        let next = NEXT_UTILITY_HOOK.get();
        let run = || match next {
            Some(next) => {
                next(
                    statement,
                    text,
                    read_only_tree,
                    context,
                    params,
                    environment,
                    destination,
                    completion,
                );
            }
            None => super::raw::standard_ProcessUtility(
                statement,
                text,
                read_only_tree,
                context,
                params,
                environment,
                destination,
                completion,
            ),
        };
        let Some(database) = super::guard::entry(|| Ok(database_to_be_free((*statement).utilityStmt))) else {
            // Straight through, with no guard in between: errors of other people's statements keep every field.
            return run();
        };
        super::guard::entry(|| {
            // after() comes whatever happens, or the database would stay without workers.
            let result = super::guard::catch(|| {
                if let Some(before) = BEFORE_DATABASE_COMMAND.get() {
                    before(database);
                }
                super::guard::protect(run);
            });
            if let Some(after) = AFTER_DATABASE_COMMAND.get() {
                after(database);
            }
            result.unwrap_or_else(|error| super::guard::throw(error));
            Ok(())
        });
    }
}

/// The database that a statement needs free of sessions.
unsafe fn database_to_be_free(node: *mut pg_sys::Node) -> Option<Oid> {
    use pg_sys::NodeTag;
    // SAFETY: a parse tree of Postgres, read by the types that its tags say.
    unsafe {
        let name = match (*node).type_ {
            NodeTag::T_DropdbStmt => (*node.cast::<pg_sys::DropdbStmt>()).dbname,
            NodeTag::T_RenameStmt => {
                let rename = node.cast::<pg_sys::RenameStmt>();
                if (*rename).renameType != pg_sys::ObjectType::OBJECT_DATABASE {
                    return None;
                }
                (*rename).subname
            }
            NodeTag::T_AlterDatabaseStmt => {
                let alter = node.cast::<pg_sys::AlterDatabaseStmt>();
                option(&(*alter).options, c"tablespace")?;
                (*alter).dbname
            }
            NodeTag::T_DropStmt => return drops_our_extension(node.cast()).then_some(pg_sys::MyDatabaseId),
            NodeTag::T_CreatedbStmt => {
                let template = option(&(*node.cast::<pg_sys::CreatedbStmt>()).options, c"template")?;
                let value = (*template).arg;
                if value.is_null() || (*value).type_ != NodeTag::T_String {
                    return None;
                }
                pg_sys::defGetString(template)
            }
            _ => return None,
        };
        let database = pg_sys::get_database_oid(name, true);
        let user = super::scope::current_user();
        let owns = database != Oid::INVALID && database != pg_sys::MyDatabaseId && {
            #[cfg(any(feature = "pg14", feature = "pg15"))]
            let owns = pg_sys::pg_database_ownercheck(database, user);
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            let owns = pg_sys::object_ownercheck(pg_sys::DatabaseRelationId, database, user);
            owns
        };
        owns.then_some(database)
    }
}

/// True for a DROP EXTENSION that names ours, by a user who may drop it.
unsafe fn drops_our_extension(drop: *mut pg_sys::DropStmt) -> bool {
    // SAFETY: the objects of a DROP EXTENSION are a list of String nodes.
    unsafe {
        if (*drop).removeType != pg_sys::ObjectType::OBJECT_EXTENSION {
            return false;
        }
        let names = (*drop).objects;
        let named = !names.is_null()
            && (0..(*names).length as usize).any(|i| {
                let name = (*(*names).elements.add(i)).ptr_value.cast::<pg_sys::Node>();
                core::ffi::CStr::from_ptr(string_of(name)) == c"pg_workflow"
            });
        let user = super::scope::current_user();
        named
            && super::catalog::extension().is_some_and(|oid| {
                #[cfg(any(feature = "pg14", feature = "pg15"))]
                let owns = pg_sys::pg_extension_ownercheck(oid, user);
                #[cfg(not(any(feature = "pg14", feature = "pg15")))]
                let owns = pg_sys::object_ownercheck(pg_sys::ExtensionRelationId, oid, user);
                owns
            })
    }
}

unsafe fn string_of(node: *mut pg_sys::Node) -> *const core::ffi::c_char {
    // SAFETY: the caller knows that it is a String node.
    unsafe {
        #[cfg(feature = "pg14")]
        return (*node.cast::<pg_sys::Value>()).val.str_;
        #[cfg(not(feature = "pg14"))]
        return (*node.cast::<pg_sys::String>()).sval;
    }
}

unsafe fn option(options: &*mut pg_sys::List, name: &core::ffi::CStr) -> Option<*mut pg_sys::DefElem> {
    // SAFETY: a list of DefElem nodes, as the grammar makes it.
    unsafe {
        let list = *options;
        if list.is_null() {
            return None;
        }
        (0..(*list).length as usize)
            .map(|i| (*(*list).elements.add(i)).ptr_value.cast::<pg_sys::DefElem>())
            .find(|element| core::ffi::CStr::from_ptr((**element).defname) == name)
    }
}
