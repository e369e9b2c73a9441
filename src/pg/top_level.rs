//! SQL text as a client's session runs it: at top level, in no transaction of ours. So it may be what cannot run inside of a
//! transaction block, and a procedure that it calls may commit.
//!
//! It follows `exec_simple_query` of Postgres: one statement is a transaction of its own; several are one together, unless
//! they begin and end transactions themselves.

use core::ffi::c_int;
use std::ffi::{CStr, CString};

use pgrx::pg_sys::{self, Oid};

use super::errdata::{PgError, pack};
use super::guard::{self, protect};
use super::value::{self, Json};
use super::{raw, spi, txn};
use crate::error::Error;

/// What the last statement of a text gave back.
pub(crate) struct Output {
    /// Its rows, if it is of a kind that gives some: values if there is one column, else objects.
    pub(crate) rows: Option<Vec<Option<Json>>>,
    /// Rows that it touched, if it counts them.
    pub(crate) count: Option<u64>,
    /// What kind of command it was: `VACUUM`.
    pub(crate) tag: String,
}

/// Runs text with `input` as `$1`, where a statement can have one, and `search_path` for its names. `accept` sees the
/// output before the last statement's own transaction is committed, and may unwind to have it rolled back.
///
/// For background workers, outside of any transaction, as the user whom the process is connected as. Settings and whatever
/// else the text leaves in the session stay: see [`reset_session`].
pub(crate) fn run<T>(
    text: &str,
    input: &Json,
    search_path: &str,
    accept: impl FnOnce(Option<Output>) -> T,
) -> Result<T, PgError> {
    let text = guard::catch(|| spi::c_text(text))?;
    in_memory(|memory| {
        set_search_path(search_path);
        // SAFETY: the text outlives in_memory, behind which nobody looks at it any more.
        unsafe { pg_sys::debug_query_string = text.as_ptr() };
        Run {
            text: &text,
            memory,
            open: false,
        }
        .all(input, accept)
    })
}

/// Gives the session the state of a new one: settings, roles, locks, temporary tables, cursors and the like.
///
/// # Errors
/// Nothing of this process is to be trusted then.
pub(crate) fn reset_session() -> Result<(), PgError> {
    in_memory(|memory| {
        for text in [c"DISCARD ALL", c"RESET ROLE"] {
            let run = Run {
                text,
                memory,
                open: false,
            };
            run.all(&Json::null(), |_| ());
        }
    })
}

/// Runs `f` with memory that outlives transactions; an error ends whatever transaction is open.
fn in_memory<T>(f: impl FnOnce(pg_sys::MemoryContext) -> T) -> Result<T, PgError> {
    // SAFETY: outside of a transaction, on the main thread: what is begun under f is ended here if it is not there.
    unsafe {
        let outer = pg_sys::CurrentMemoryContext;
        let memory = pg_sys::AllocSetContextCreateInternal(
            pg_sys::TopMemoryContext,
            c"pg_workflow command".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        pg_sys::CurrentMemoryContext = memory;
        let result = guard::catch(|| f(memory));
        if result.is_err() {
            // As Postgres' main loop does.
            pg_sys::AbortOutOfAnyTransaction();
            pg_sys::PortalErrorCleanup();
            pg_sys::jit_reset_after_error();
        }
        pg_sys::debug_query_string = std::ptr::null();
        pg_sys::CurrentMemoryContext = outer;
        pg_sys::MemoryContextDelete(memory);
        result
    }
}

/// For the session, in a transaction of its own: one that the text rolls back would take it along.
fn set_search_path(path: &str) {
    let path = CString::new(path).unwrap_or_default();
    // SAFETY: a setting call; Postgres copies the value.
    unsafe {
        pg_sys::StartTransactionCommand();
        pg_sys::set_config_option(
            c"search_path".as_ptr(),
            path.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SET,
            true,
            pgrx::PgLogLevel::ERROR as i32,
            false,
        );
        pg_sys::CommitTransactionCommand();
    }
}

/// A text on its way.
struct Run<'a> {
    text: &'a CStr,
    memory: pg_sys::MemoryContext,
    /// A transaction command has been started.
    open: bool,
}

impl Run<'_> {
    fn all<T>(mut self, input: &Json, accept: impl FnOnce(Option<Output>) -> T) -> T {
        // SAFETY: trees, plans and parameters lie in memory that outlives them, whatever transactions the text ends.
        unsafe {
            self.start();
            let text = self.text.as_ptr();
            let list = protect(|| raw::pg_parse_query(text));
            let count = if list.is_null() { 0 } else { (*list).length as usize };
            let params = parameters(input);
            let mut output = None;
            for position in 0..count {
                let statement = (*(*list).elements.add(position)).ptr_value.cast::<pg_sys::RawStmt>();
                self.start();
                if count > 1 {
                    pg_sys::BeginImplicitTransactionBlock();
                }
                output = Some(self.one(statement, params));
                if position + 1 == count {
                    break;
                }
                if (*(*statement).stmt).type_ == pg_sys::NodeTag::T_TransactionStmt {
                    self.finish();
                } else {
                    pg_sys::CommandCounterIncrement();
                }
            }
            if count > 1 {
                pg_sys::EndImplicitTransactionBlock();
            }
            let accepted = accept(output);
            self.finish();
            if pg_sys::IsTransactionBlock() {
                Error::TransactionLeftOpen.throw();
            }
            accepted
        }
    }

    unsafe fn start(&mut self) {
        // SAFETY: outside of a transaction, or in a block that the text has begun.
        unsafe {
            if !self.open {
                pg_sys::SetCurrentStatementStartTimestamp();
                pg_sys::StartTransactionCommand();
                self.open = true;
            }
            pg_sys::CurrentMemoryContext = self.memory;
        }
    }

    unsafe fn finish(&mut self) {
        // SAFETY: ends what start() has begun; raw because deferred constraints and triggers run here.
        unsafe {
            if std::mem::take(&mut self.open) {
                protect(|| raw::CommitTransactionCommand());
            }
            pg_sys::CurrentMemoryContext = self.memory;
        }
    }

    unsafe fn one(&self, statement: *mut pg_sys::RawStmt, params: pg_sys::ParamListInfo) -> Output {
        // SAFETY: a statement of the list that was parsed, in a transaction.
        unsafe {
            refuse_client_copy((*statement).stmt);
            let (text, null) = (self.text.as_ptr(), std::ptr::null_mut::<pg_sys::CachedPlan>());
            let snapshot = pg_sys::analyze_requires_snapshot(statement);
            if snapshot {
                pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            }
            let types: [Oid; 1] = [pg_sys::JSONBOID];
            let types = types.as_ptr();
            let queries = protect(|| raw::analyze_and_rewrite(statement, text, types, 1));
            let options = pg_sys::CURSOR_OPT_PARALLEL_OK as c_int;
            let plans = protect(|| raw::pg_plan_queries(queries, text, options, params));
            if snapshot {
                pg_sys::PopActiveSnapshot();
            }
            txn::check_for_interrupts();
            let portal = pg_sys::CreatePortal(c"".as_ptr(), true, true);
            (*portal).visible = false;
            let tag = pg_sys::CreateCommandTag((*statement).stmt);
            pg_sys::PortalDefineQuery(portal, std::ptr::null(), text, tag, plans, null);
            protect(|| raw::PortalStart(portal, params, 0, std::ptr::null_mut()));
            let mut receiver = Receiver::new();
            let mut completion = pg_sys::QueryCompletion::default();
            let (to, done) = (
                std::ptr::from_mut(&mut receiver).cast(),
                std::ptr::from_mut(&mut completion),
            );
            protect(|| raw::run_portal(portal, to, pg_sys::None_Receiver, done));
            pg_sys::PortalDrop(portal, false);
            let name = pg_sys::GetCommandTagName(completion.commandTag);
            Output {
                rows: receiver.rows,
                count: pg_sys::command_tag_display_rowcount(completion.commandTag).then_some(completion.nprocessed),
                tag: CStr::from_ptr(name).to_string_lossy().into_owned(),
            }
        }
    }
}

/// The input as the one parameter.
unsafe fn parameters(input: &Json) -> pg_sys::ParamListInfo {
    // SAFETY: room for one; the value lies in memory that lives as long as the list.
    unsafe {
        let params = pg_sys::makeParamList(1);
        (*params).params.as_mut_ptr().write(pg_sys::ParamExternData {
            value: input.to_palloc(),
            isnull: false,
            pflags: pg_sys::PARAM_FLAG_CONST as u16,
            ptype: pg_sys::JSONBOID,
        });
        params
    }
}

/// There is no client: the server would read its own input, or write to its own output.
unsafe fn refuse_client_copy(node: *mut pg_sys::Node) {
    // SAFETY: a parse tree, read by the type that its tag says.
    unsafe {
        if (*node).type_ == pg_sys::NodeTag::T_CopyStmt && (*node.cast::<pg_sys::CopyStmt>()).filename.is_null() {
            let message = "COPY to or from the client cannot be used in a step";
            guard::throw(PgError::new(pack(*b"0A000"), message));
        }
    }
}

/// Takes rows as JSON, one by one, so that none is bound to a transaction. Postgres knows its first field only.
#[repr(C)]
struct Receiver {
    face: pg_sys::DestReceiver,
    rows: Option<Vec<Option<Json>>>,
}

impl Receiver {
    fn new() -> Self {
        Self {
            face: pg_sys::DestReceiver {
                receiveSlot: Some(receive),
                rStartup: Some(begin),
                rShutdown: Some(end),
                rDestroy: Some(end),
                mydest: pg_sys::CommandDest::DestNone,
            },
            rows: None,
        }
    }
}

unsafe extern "C-unwind" fn begin(receiver: *mut pg_sys::DestReceiver, _: c_int, _: pg_sys::TupleDesc) {
    // SAFETY: it is one of ours.
    unsafe { (*receiver.cast::<Receiver>()).rows = Some(Vec::new()) };
}

unsafe extern "C-unwind" fn receive(slot: *mut pg_sys::TupleTableSlot, receiver: *mut pg_sys::DestReceiver) -> bool {
    guard::entry(|| {
        // SAFETY: a receiver of ours, and a filled slot, whose values last as long as the call.
        unsafe {
            let descriptor = (*slot).tts_tupleDescriptor;
            let row = super::scope::with_memory(|| {
                if (*descriptor).natts != 1 {
                    pg_sys::BlessTupleDesc(descriptor);
                    let row = pg_sys::ExecFetchSlotHeapTupleDatum(slot);
                    return Some(value::to_jsonb(row, pg_sys::RECORDOID));
                }
                let type_oid = pg_sys::SPI_gettypeid(descriptor, 1);
                let mut is_null = false;
                let datum = pg_sys::slot_getattr(slot, 1, &mut is_null);
                (!is_null && type_oid != pg_sys::VOIDOID).then(|| value::to_jsonb(datum, type_oid))
            });
            (*receiver.cast::<Receiver>()).rows.get_or_insert_default().push(row);
        }
        Ok(true)
    })
}

unsafe extern "C-unwind" fn end(_: *mut pg_sys::DestReceiver) {}
