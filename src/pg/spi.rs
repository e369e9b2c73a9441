//! The engine's own SQL: statements prepared once a process, rows read by position.
//!
//! Every statement runs with a fresh snapshot (`read_only = false` in SPI's words; it takes no transaction id by
//! itself), because a worker's transaction outlives many instances and must see what others have committed meanwhile.

use core::ffi::{c_char, c_int};
use std::cell::Cell;
use std::ffi::CString;

use pgrx::FromDatum;
use pgrx::pg_sys::{self, Datum, Oid};

use super::errdata::{INTERNAL_ERROR, PgError};
use super::guard::{self, protect};
use super::raw;
use super::value::{self, Argument, Json};

/// Types of a statement's parameters.
pub(crate) mod types {
    use pgrx::pg_sys::{self, Oid};

    pub(crate) const BOOL: Oid = pg_sys::BOOLOID;
    pub(crate) const FLOAT8: Oid = pg_sys::FLOAT8OID;
    pub(crate) const INT4: Oid = pg_sys::INT4OID;
    pub(crate) const INT4S: Oid = pg_sys::INT4ARRAYOID;
    pub(crate) const INT8: Oid = pg_sys::INT8OID;
    pub(crate) const JSONB: Oid = pg_sys::JSONBOID;
    pub(crate) const OID: Oid = pg_sys::OIDOID;
    pub(crate) const TEXT: Oid = pg_sys::TEXTOID;
    pub(crate) const TEXTS: Oid = pg_sys::TEXTARRAYOID;
    pub(crate) const TID: Oid = pg_sys::TIDOID;
    pub(crate) const TIDS: Oid = pg_sys::TIDARRAYOID;
    pub(crate) const TIMESTAMPTZ: Oid = pg_sys::TIMESTAMPTZOID;
    pub(crate) const UUID: Oid = pg_sys::UUIDOID;
    pub(crate) const UUIDS: Oid = pg_sys::UUIDARRAYOID;
}

/// A statement of the engine. Its plan is made at first use and kept for the life of the process.
pub(crate) struct Statement {
    sql: &'static str,
    types: &'static [Oid],
    plan: Cell<pg_sys::SPIPlanPtr>,
}

// SAFETY: a Postgres process has one thread that runs our code.
unsafe impl Sync for Statement {}

impl Statement {
    pub(crate) const fn new(sql: &'static str, types: &'static [Oid]) -> Self {
        Self {
            sql,
            types,
            plan: Cell::new(std::ptr::null_mut()),
        }
    }

    /// Runs the statement and returns the number of rows that it touched.
    pub(crate) fn run(&self, args: &[&dyn Argument]) -> u64 {
        self.query(args, |_| ()).len() as u64
    }

    /// Runs the statement and maps its rows. A command without RETURNING gives one unit a row touched.
    pub(crate) fn query<T>(&self, args: &[&dyn Argument], mut map: impl FnMut(&Row) -> T) -> Vec<T> {
        debug_assert_eq!(args.len(), self.types.len(), "{}", self.sql);
        if self.plan.get().is_null() {
            self.plan.set(prepare(self.sql, self.types));
        }
        let args: Vec<Option<Datum>> = args.iter().map(|arg| arg.to_arg()).collect();
        let result = execute(Source::Plan(self.plan.get()), &args);
        let rows = (0..result.count)
            .map(|index| map(&Row { result: &result, index }))
            .collect();
        result.free();
        rows
    }

    /// The first row, if there is one.
    pub(crate) fn first<T>(&self, args: &[&dyn Argument], map: impl FnMut(&Row) -> T) -> Option<T> {
        self.query(args, map).into_iter().next()
    }
}

/// A row of a result; columns count from 0.
pub(crate) struct Row<'a> {
    result: &'a Output,
    index: usize,
}

impl Row<'_> {
    /// The value of column `column`, or `None` for NULL. `T` must be the column's type.
    pub(crate) fn get<T: FromDatum>(&self, column: usize) -> Option<T> {
        let (datum, type_oid) = self.result.datum(self.index, column)?;
        // SAFETY: statement and T are written side by side in store/, and run by its tests.
        unsafe { T::from_polymorphic_datum(datum, false, type_oid) }
    }

    /// A text column in place, for words that are only looked at; NULL is empty.
    pub(crate) fn text(&self, column: usize) -> &str {
        self.get::<&str>(column).unwrap_or_default()
    }

    /// A column that the statement cannot leave NULL.
    pub(crate) fn need<T: FromDatum>(&self, column: usize) -> T {
        self.get(column).unwrap_or_else(|| {
            guard::throw(PgError::new(
                INTERNAL_ERROR,
                format!("column {column} of an engine query is null"),
            ))
        })
    }
}

/// SQL text of a user, prepared: kept by the caller's cache, freed by [`UserPlan::free`].
#[derive(Clone, Copy)]
pub(crate) struct UserPlan(pg_sys::SPIPlanPtr);

impl UserPlan {
    /// Prepares one statement with parameters of `types`.
    pub(crate) fn prepare(sql: &str, types: &[Oid]) -> Self {
        Self(prepare(sql, types))
    }

    pub(crate) fn run(self, args: &[Option<Datum>]) -> Output {
        execute(Source::Plan(self.0), args)
    }

    /// As [`Self::run`], with the ERROR as a value: see [`guard::attempt`].
    pub(crate) fn try_run(self, args: &[Option<Datum>]) -> Result<Output, PgError> {
        try_execute(Source::Plan(self.0), args)
    }

    pub(crate) fn free(self) {
        // SAFETY: the cache drops its copy with this call.
        unsafe { pg_sys::SPI_freeplan(self.0) };
    }
}

/// Runs SQL text of one or more statements at once, without a kept plan: later ones may use what earlier ones made.
pub(crate) fn run_text(sql: &str, types: &[Oid], args: &[Option<Datum>]) -> Output {
    let sql = c_text(sql);
    execute(Source::Text(&sql, types), args)
}

/// Runs a CALL whose procedure may commit. Outside of subtransactions, in a worker's transaction.
///
/// The statement is planned for this one run: a kept plan would be held by the resource owner of a transaction that may
/// end in the middle.
pub(crate) fn call_nonatomic(sql: &str, types: &[Oid], args: &[Option<Datum>]) -> Output {
    let sql = c_text(sql);
    // SAFETY: as many parameters as types; SPI reads the list during the call, and nothing frees it before.
    unsafe {
        let params = pg_sys::makeParamList(types.len() as c_int);
        for (i, (type_oid, arg)) in types.iter().zip(args).enumerate() {
            (*params).params.as_mut_ptr().add(i).write(pg_sys::ParamExternData {
                value: arg.unwrap_or_else(Datum::null),
                isnull: arg.is_none(),
                pflags: pg_sys::PARAM_FLAG_CONST as u16,
                ptype: *type_oid,
            });
        }
        let options = pg_sys::SPIExecuteOptions {
            params,
            allow_nonatomic: true,
            ..Default::default()
        };
        let text = sql.as_ptr();
        Output::take(protect(|| raw::SPI_execute_extended(text, &options)))
    }
}

/// Number of statements in SQL text; a syntax error unwinds.
pub(crate) fn count_statements(sql: &str) -> usize {
    let sql = c_text(sql);
    // SAFETY: the list lives in the current memory context.
    unsafe {
        let list = pg_sys::pg_parse_query(sql.as_ptr());
        if list.is_null() { 0 } else { (*list).length as usize }
    }
}

/// What a statement gave back. To be freed explicitly: an unwinding error has freed it with its subtransaction.
pub(crate) struct Output {
    table: *mut pg_sys::SPITupleTable,
    /// Rows returned, or touched by a command that returns none.
    pub(crate) count: usize,
    /// True if the statement returns rows at all.
    pub(crate) has_rows: bool,
    /// True for a command that counts the rows it touched.
    pub(crate) counts: bool,
}

impl Output {
    /// What SPI has just left, given its result code.
    ///
    /// # Safety
    /// Right behind the call of SPI.
    unsafe fn take(code: c_int) -> Self {
        if code < 0 {
            spi_failed("SPI_execute", code);
        }
        let counts = matches!(
            code as u32,
            pg_sys::SPI_OK_INSERT
                | pg_sys::SPI_OK_UPDATE
                | pg_sys::SPI_OK_DELETE
                | pg_sys::SPI_OK_SELINTO
                | SPI_OK_MERGE
        );
        // SAFETY: SPI's results are process-local variables.
        unsafe {
            Self {
                table: pg_sys::SPI_tuptable,
                count: pg_sys::SPI_processed as usize,
                has_rows: !pg_sys::SPI_tuptable.is_null(),
                counts,
            }
        }
    }

    /// Number of columns.
    pub(crate) fn width(&self) -> usize {
        if self.table.is_null() {
            return 0;
        }
        // SAFETY: the table is live until free().
        unsafe { (*(*self.table).tupdesc).natts as usize }
    }

    fn datum(&self, row: usize, column: usize) -> Option<(Datum, Oid)> {
        assert!(row < self.count && column < self.width(), "no such row or column");
        // SAFETY: within bounds of a live table.
        unsafe {
            let tuple = *(*self.table).vals.add(row);
            let mut is_null = false;
            let number = column as c_int + 1;
            let datum = pg_sys::SPI_getbinval(tuple, (*self.table).tupdesc, number, &mut is_null);
            (!is_null).then(|| (datum, pg_sys::SPI_gettypeid((*self.table).tupdesc, number)))
        }
    }

    /// One value as JSON; SQL NULL is `None`, and so is `void`.
    pub(crate) fn json(&self, row: usize, column: usize) -> Option<Json> {
        let (datum, type_oid) = self.datum(row, column)?;
        (type_oid != pg_sys::VOIDOID).then(|| value::to_jsonb(datum, type_oid))
    }

    /// One row as a JSON object with a key a column.
    pub(crate) fn row_json(&self, row: usize) -> Json {
        assert!(row < self.count, "no such row");
        // SAFETY: within bounds of a live table; the copy is a composite datum that knows its (blessed) type.
        unsafe {
            let tupdesc = pg_sys::BlessTupleDesc((*self.table).tupdesc);
            let datum = pg_sys::heap_copy_tuple_as_datum(*(*self.table).vals.add(row), tupdesc);
            value::to_jsonb(datum, pg_sys::RECORDOID)
        }
    }

    /// Types of the columns.
    pub(crate) fn column_types(&self) -> Vec<Oid> {
        // SAFETY: within bounds of a live table.
        (1..=self.width() as c_int)
            .map(|i| unsafe { pg_sys::SPI_gettypeid((*self.table).tupdesc, i) })
            .collect()
    }

    /// Typed values of one row, to pass on as arguments; valid until [`Self::free`].
    pub(crate) fn row_datums(&self, row: usize) -> Vec<Option<Datum>> {
        (0..self.width())
            .map(|column| self.datum(row, column).map(|(datum, _)| datum))
            .collect()
    }

    pub(crate) fn free(self) {
        if !self.table.is_null() {
            // SAFETY: made by the SPI connection that is still open.
            unsafe { pg_sys::SPI_freetuptable(self.table) };
        }
    }
}

enum Source<'a> {
    Plan(pg_sys::SPIPlanPtr),
    Text(&'a CString, &'a [Oid]),
}

fn prepare(sql: &str, types: &[Oid]) -> pg_sys::SPIPlanPtr {
    let sql = c_text(sql);
    let mut types = types.to_vec();
    // SAFETY: SPI copies text and types.
    unsafe {
        let (text, arg_types, count) = (sql.as_ptr(), types.as_mut_ptr(), types.len() as c_int);
        let plan = protect(|| raw::SPI_prepare(text, count, arg_types));
        if plan.is_null() {
            spi_failed("SPI_prepare", pg_sys::SPI_result);
        }
        pg_sys::SPI_keepplan(plan);
        plan
    }
}

fn execute(source: Source, args: &[Option<Datum>]) -> Output {
    try_execute(source, args).unwrap_or_else(|error| guard::throw(error))
}

fn try_execute(source: Source, args: &[Option<Datum>]) -> Result<Output, PgError> {
    let mut values: Vec<Datum> = args.iter().map(|arg| arg.unwrap_or_else(Datum::null)).collect();
    let nulls: Vec<c_char> = args
        .iter()
        .map(|arg| if arg.is_some() { b' ' } else { b'n' } as c_char)
        .collect();
    // SAFETY: as many values and flags as parameters; what SPI returns is taken before anything else can run.
    unsafe {
        let (values, nulls) = (values.as_mut_ptr(), nulls.as_ptr());
        let code = match source {
            Source::Plan(plan) => guard::attempt(|| raw::SPI_execute_plan(plan, values, nulls, false, 0)),
            Source::Text(sql, types) => {
                let mut types = types.to_vec();
                let (text, arg_types, count) = (sql.as_ptr(), types.as_mut_ptr(), types.len() as c_int);
                guard::attempt(|| raw::SPI_execute_with_args(text, count, arg_types, values, nulls, false, 0))
            }
        };
        code.map(|code| Output::take(code))
    }
}

/// `SPI_OK_MERGE` of PostgreSQL 15 and later.
const SPI_OK_MERGE: u32 = 18;

fn spi_failed(function: &str, code: c_int) -> ! {
    // Codes below zero are refusals by SPI itself, before anything ran; the two that users meet have an own message.
    let message = match code {
        pg_sys::SPI_ERROR_TRANSACTION => "transaction commands cannot be used in a step".to_owned(),
        pg_sys::SPI_ERROR_COPY => "COPY to or from the client cannot be used in a step".to_owned(),
        _ => format!("{function} failed with code {code}"),
    };
    guard::throw(PgError::new(super::errdata::pack(*b"0A000"), message))
}

pub(super) fn c_text(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|_| {
        guard::throw(PgError::new(
            super::errdata::pack(*b"22021"),
            "SQL text contains a NUL character",
        ))
    })
}
