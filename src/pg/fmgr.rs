//! Functions that SQL calls: their frame and their arguments.
//!
//! The SQL declarations are written by hand in `sql/functions/`, where defaults, comments and privileges can be
//! reviewed; a declaration's symbol is the name given to [`sql_function!`].

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::FromDatum;
use pgrx::pg_sys::{self, Datum, FunctionCallInfo, Oid};

use super::errdata::{self, PgError};
use super::guard;
use super::unused;
use super::value::{Argument, Json, RunId};
use crate::error::Error;

/// Defines the C symbol `$name` (and its `pg_finfo_` twin) for `fn(Args) -> Result<Return, Error>`.
macro_rules! sql_function {
    ($name:literal, $body:ident) => {
        const _: () = {
            #[unsafe(export_name = $name)]
            extern "C-unwind" fn function(fcinfo: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
                $crate::pg::fmgr::call(fcinfo, $name, $body)
            }
            #[unsafe(export_name = concat!("pg_finfo_", $name))]
            extern "C-unwind" fn info() -> &'static pgrx::pg_sys::Pg_finfo_record {
                &pgrx::pg_sys::Pg_finfo_record { api_version: 1 }
            }
        };
    };
}
pub(crate) use sql_function;

/// What a SQL function returns.
pub(crate) enum Return {
    Null,
    Datum(Datum),
}

impl Return {
    pub(crate) fn void() -> Self {
        Self::Datum(Datum::null())
    }

    /// A copy in the caller's memory context.
    pub(crate) fn json(value: Option<&Json>) -> Self {
        value.map_or(Self::Null, |value| Self::Datum(value.to_palloc()))
    }

    /// Points at `value` itself, for values that live on beyond the statement: the answers of a history, which a long
    /// replay would otherwise copy again and again. As with a constant in a query, nobody may free or change it.
    pub(crate) fn kept(value: Option<&Json>) -> Self {
        value.map_or(Self::Null, |value| Self::Datum(value.datum()))
    }

    /// What a procedure with one INOUT parameter of type `jsonb` returns: a row of it, as [`Self::kept`].
    pub(crate) fn kept_row(value: Option<&Json>) -> Self {
        thread_local! {
            static ROW: std::cell::Cell<pg_sys::TupleDesc> = const { std::cell::Cell::new(std::ptr::null_mut()) };
        }
        // SAFETY: the descriptor is made once and lives as long as the process; the row is the caller's context's.
        unsafe {
            if ROW.get().is_null() {
                let outer = pg_sys::CurrentMemoryContext;
                pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
                let row = pg_sys::CreateTemplateTupleDesc(1);
                pg_sys::TupleDescInitEntry(row, 1, c"result".as_ptr(), pg_sys::JSONBOID, -1, 0);
                ROW.set(pg_sys::BlessTupleDesc(row));
                pg_sys::CurrentMemoryContext = outer;
            }
            let mut values = [value.map_or(Datum::null(), Json::datum)];
            let mut nulls = [value.is_none()];
            let tuple = pg_sys::heap_form_tuple(ROW.get(), values.as_mut_ptr(), nulls.as_mut_ptr());
            Self::Datum(pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data))
        }
    }

    pub(crate) fn text(value: impl AsRef<str>) -> Self {
        Self::value(value.as_ref())
    }

    pub(crate) fn uuid(value: Option<RunId>) -> Self {
        value.map_or(Self::Null, |value| {
            // SAFETY: sixteen bytes in the caller's memory context.
            unsafe {
                let copy = pg_sys::palloc(16);
                std::ptr::copy_nonoverlapping(value.0.as_ptr(), copy.cast(), 16);
                Self::Datum(Datum::from(copy))
            }
        })
    }

    pub(crate) fn value(value: impl Argument) -> Self {
        value.to_arg().map_or(Self::Null, Self::Datum)
    }
}

/// The arguments of a call, by position from 0.
#[derive(Clone, Copy)]
pub(crate) struct Args(FunctionCallInfo);

impl Args {
    /// `None` for SQL NULL. `T` must be the declared type.
    pub(crate) fn get<T: FromDatum>(self, index: usize) -> Option<T> {
        // SAFETY: Postgres fills nargs arguments.
        unsafe {
            assert!(index < (*self.0).nargs as usize, "no such argument");
            let arg = &*(*self.0).args.as_ptr().add(index);
            T::from_polymorphic_datum(arg.value, arg.isnull, Oid::INVALID)
        }
    }

    /// A text argument in place, for what is called too often to copy it. `None` for SQL NULL.
    pub(crate) fn text<'a>(self, index: usize) -> Option<&'a str> {
        // A detoasted copy, where one is made, is of the caller's memory context, and the argument lives longer than this
        // call: 'a is the call.
        self.get::<&'a str>(index)
    }

    /// An argument that must not be NULL; `name` is what the declaration calls it.
    pub(crate) fn need<T: FromDatum>(self, index: usize, name: &'static str) -> Result<T, Error> {
        self.get(index).ok_or(Error::NullArgument(name))
    }

    /// What a function that RETURNS TABLE returns: its rows, with the columns that it declares.
    ///
    /// # Errors
    /// Unwinds where no rows can be taken.
    pub(crate) fn rows<'a, const N: usize>(self, rows: impl Iterator<Item = [&'a dyn Argument; N]>) -> Return {
        // SAFETY: Postgres' own call record; store and row type go to the memory of the query that has asked.
        unsafe {
            let info = (*self.0).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            let takes = |mode| (*info).allowedModes & mode as i32 != 0;
            if info.is_null()
                || (*info).type_ != pg_sys::NodeTag::T_ReturnSetInfo
                || !takes(pg_sys::SetFunctionReturnMode::SFRM_Materialize)
            {
                guard::throw(PgError::new(
                    errdata::pack(*b"0A000"),
                    "set-valued function called in context that cannot accept a set",
                ));
            }
            let outer = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = (*(*info).econtext).ecxt_per_query_memory;
            let mut row_type = std::ptr::null_mut();
            pg_sys::get_call_result_type(self.0, std::ptr::null_mut(), &mut row_type);
            let random = takes(pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random);
            let store = pg_sys::tuplestore_begin_heap(random, false, pg_sys::work_mem);
            pg_sys::CurrentMemoryContext = outer;
            for row in rows {
                let row = row.map(Argument::to_arg);
                let mut values = row.map(|value| value.unwrap_or_else(Datum::null));
                let mut nulls = row.map(|value| value.is_none());
                pg_sys::tuplestore_putvalues(store, row_type, values.as_mut_ptr(), nulls.as_mut_ptr());
            }
            (*info).returnMode = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
            (*info).setResult = store;
            (*info).setDesc = row_type;
        }
        Return::Null
    }

    /// True if nobody uses what this call returns; told once, and only under [`unused::watch`].
    pub(crate) fn is_unused(self) -> bool {
        // SAFETY: Postgres' own call record.
        unsafe {
            let function = (*self.0).flinfo;
            !function.is_null() && unused::take((*function).fn_expr)
        }
    }

    /// True if this call of a procedure runs inside a transaction block (or a function) and may not commit.
    pub(crate) fn atomic(self) -> bool {
        // SAFETY: a CALL's context is a CallContext node; anything else is atomic.
        unsafe {
            let context = (*self.0).context;
            context.is_null()
                || (*context).type_ != pg_sys::NodeTag::T_CallContext
                || (*context.cast::<pg_sys::CallContext>()).atomic
        }
    }
}

type Check = fn(symbol: &str) -> Result<(), Error>;

thread_local! {
    static CHECK: Cell<Option<Check>> = const { Cell::new(None) };
}

/// Has `check` say of every call whether it may be made, before its arguments are read.
pub(crate) fn before_calls(check: Check) {
    CHECK.set(Some(check));
}

/// The body of [`sql_function!`]'s symbols.
pub(crate) fn call(fcinfo: FunctionCallInfo, symbol: &str, body: impl FnOnce(Args) -> Result<Return, Error>) -> Datum {
    super::guard::entry(|| {
        if let Some(check) = CHECK.get() {
            check(symbol)?;
        }
        let result = body(Args(fcinfo))?;
        // SAFETY: Postgres' own call record.
        unsafe {
            match result {
                Return::Null => {
                    (*fcinfo).isnull = true;
                    Ok(Datum::null())
                }
                Return::Datum(datum) => {
                    (*fcinfo).isnull = false;
                    Ok(datum)
                }
            }
        }
    })
}

/// Name of a role, or its number if it was dropped.
pub(crate) fn role_name(role: Oid) -> String {
    // SAFETY: missing roles give NULL; the text is copied.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() {
            role.to_u32().to_string()
        } else {
            CStr::from_ptr(name).to_string_lossy().into_owned()
        }
    }
}
