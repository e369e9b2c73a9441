//! Values that cross between Rust and rows: owned on the Rust side, so that no memory context's reset can pull them
//! away, and handed to Postgres as datums without a text round trip.

use core::ffi::c_void;
use std::collections::BTreeSet;
use std::rc::Rc;

use pgrx::pg_sys::{self, Datum, Oid};
use pgrx::{FromDatum, IntoDatum};

use super::clock::clock;
use super::errdata::PgError;
use super::guard::{self, protect};
use super::raw;

/// A `jsonb` value in Postgres' own binary form, detoasted. Clones share it.
#[derive(Clone)]
pub(crate) struct Json(Rc<[u64]>); // u64 for the alignment that varlena needs

impl Json {
    /// Copies a `jsonb` datum.
    ///
    /// # Safety
    /// `datum` is a non-null `jsonb`.
    unsafe fn copy(datum: Datum) -> Self {
        // SAFETY: the caller vouches for the datum; size bytes are copied into as many.
        unsafe {
            let original = datum.cast_mut_ptr::<pg_sys::varlena>();
            let plain = protect(|| raw::pg_detoast_datum(original));
            let size = pgrx::varsize(plain);
            let mut words = Rc::<[u64]>::new_uninit_slice(size.div_ceil(8));
            if let Some(words) = Rc::get_mut(&mut words) {
                // The last word first: its tail is beyond the value.
                if let Some(last) = words.last_mut() {
                    last.write(0);
                }
                std::ptr::copy_nonoverlapping(plain.cast::<u8>(), words.as_mut_ptr().cast::<u8>(), size);
            }
            if plain != original {
                pg_sys::pfree(plain.cast());
            }
            Self(words.assume_init())
        }
    }

    /// Parses JSON text; an error is Postgres' own (22P02).
    pub(crate) fn parse(text: &str) -> Self {
        let text = std::ffi::CString::new(text).unwrap_or_default();
        // SAFETY: jsonb_in returns a jsonb; its palloc'd result is left to the memory context.
        unsafe {
            let datum = pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(Datum::from(text.as_ptr()))]);
            Self::copy(datum.unwrap_or_else(Datum::null))
        }
    }

    /// JSON null.
    pub(crate) fn null() -> Self {
        Self::parse("null")
    }

    pub(crate) fn from_value(value: &serde_json::Value) -> Self {
        Self::parse(&value.to_string())
    }

    /// An object of fields whose values are JSON text; those without one are left out. User data goes through as it is, not
    /// by way of floating-point numbers.
    pub(crate) fn object(fields: &[(&str, Option<String>)]) -> Self {
        let fields = fields.iter().filter_map(|(key, value)| {
            let value = value.as_ref()?;
            Some(format!("{}:{value}", serde_json::Value::from(*key)))
        });
        Self::parse(&format!("{{{}}}", fields.collect::<Vec<_>>().join(",")))
    }

    /// The value of a key, if this is an object that has it.
    pub(crate) fn field(&self, key: &str) -> Option<Self> {
        // SAFETY: jsonb -> text gives a jsonb or NULL.
        unsafe {
            let key = Argument::to_arg(key);
            let datum = pgrx::direct_function_call_as_datum(pg_sys::jsonb_object_field, &[Some(self.datum()), key]);
            datum.map(|datum| Self::copy(datum))
        }
    }

    pub(crate) fn is_array(&self) -> bool {
        self.to_text().starts_with('[')
    }

    /// Number of elements of an array.
    pub(crate) fn array_length(&self) -> i32 {
        // SAFETY: a jsonb that is an array.
        unsafe { pgrx::direct_function_call::<i32>(pg_sys::jsonb_array_length, &[Some(self.datum())]) }.unwrap_or(0)
    }

    /// Elements of an array.
    pub(crate) fn elements(&self) -> Vec<Self> {
        // SAFETY: jsonb -> integer of an array gives a jsonb for each index below its length.
        let element = |index: i32| unsafe {
            let arguments = [Some(self.datum()), index.to_arg()];
            pgrx::direct_function_call_as_datum(pg_sys::jsonb_array_element, &arguments).map(|datum| Self::copy(datum))
        };
        (0..self.array_length()).filter_map(element).collect()
    }

    /// Points at memory of `self`: valid as long as `self` is.
    pub(crate) fn datum(&self) -> Datum {
        Datum::from(self.0.as_ptr().cast::<c_void>())
    }

    /// A copy in the current memory context, to return from a function.
    pub(crate) fn to_palloc(&self) -> Datum {
        let size = self.size();
        // SAFETY: size bytes lie behind the pointer.
        unsafe {
            let copy = pg_sys::palloc(size);
            std::ptr::copy_nonoverlapping(self.0.as_ptr().cast::<u8>(), copy.cast::<u8>(), size);
            Datum::from(copy)
        }
    }

    /// Bytes of the binary form.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: a detoasted varlena begins with its size.
        unsafe { pgrx::varsize(self.0.as_ptr().cast::<pg_sys::varlena>()) }
    }

    /// An element of an array, from 0, as it is.
    pub(crate) fn element(&self, index: usize) -> Option<Self> {
        // SAFETY: jsonb_array_element(jsonb, integer), NULL if there is none; the copy is ours.
        unsafe {
            let index = i32::try_from(index).ok().and_then(IntoDatum::into_datum);
            pgrx::direct_function_call_as_datum(pg_sys::jsonb_array_element, &[Some(self.datum()), index])
                .map(|datum| Self::copy(datum))
        }
    }

    /// JSON text.
    pub(crate) fn to_text(&self) -> String {
        // SAFETY: jsonb_out of a jsonb gives a C string.
        unsafe {
            pgrx::direct_function_call_as_datum(pg_sys::jsonb_out, &[Some(self.datum())])
                .map(|datum| {
                    core::ffi::CStr::from_ptr(datum.cast_mut_ptr())
                        .to_string_lossy()
                        .into_owned()
                })
                .unwrap_or_default()
        }
    }

    /// The value for Rust code that looks inside. Policies, options and keys only: user data stays binary.
    ///
    /// # Errors
    /// Unwinds where Rust's JSON is narrower than Postgres': numbers beyond double precision, more than 127 levels.
    pub(crate) fn to_value(&self) -> serde_json::Value {
        serde_json::from_str(&self.to_text()).unwrap_or_else(|error| {
            let problem = if error.to_string().starts_with("number") {
                "A number in it is beyond the range of double precision."
            } else {
                "It has more than 127 levels."
            };
            guard::throw(PgError {
                detail: Some(problem.to_owned()),
                hint: Some("Only inputs, results and other values that are passed on may be like that.".to_owned()),
                ..PgError::new(super::errdata::pack(*b"22023"), "JSON value cannot be read")
            })
        })
    }

    /// The keys of an object, whatever is in it; `None` if this is none.
    pub(crate) fn keys(&self) -> Option<BTreeSet<String>> {
        let mut keys = BTreeSet::new();
        // SAFETY: the iterator only reads the value, which lives longer; a key points into it and is copied at once.
        unsafe {
            let jsonb = self.0.as_ptr().cast_mut().cast::<pg_sys::Jsonb>();
            let mut iterator = pg_sys::JsonbIteratorInit(&raw mut (*jsonb).root);
            let mut value = pg_sys::JsonbValue::default();
            if pg_sys::JsonbIteratorNext(&mut iterator, &mut value, false)
                != pg_sys::JsonbIteratorToken::WJB_BEGIN_OBJECT
            {
                return None;
            }
            while pg_sys::JsonbIteratorNext(&mut iterator, &mut value, true) == pg_sys::JsonbIteratorToken::WJB_KEY {
                let key = value.val.string;
                let bytes = std::slice::from_raw_parts(key.val.cast::<u8>(), key.len as usize);
                keys.insert(String::from_utf8_lossy(bytes).into_owned());
                pg_sys::JsonbIteratorNext(&mut iterator, &mut value, true);
            }
        }
        Some(keys)
    }

    /// This object with the fields of another one in the place of its own.
    pub(crate) fn merge(&self, other: &Self) -> Self {
        // SAFETY: jsonb || jsonb gives a jsonb.
        unsafe {
            let arguments = [Some(self.datum()), Some(other.datum())];
            pgrx::direct_function_call_as_datum(pg_sys::jsonb_concat, &arguments)
                .map_or_else(|| self.clone(), |datum| Self::copy(datum))
        }
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        // jsonb is normalised (key order, duplicates), so equal values nearly always have equal bytes; numbers may
        // differ in scale (1.0, 1.00), for which Postgres has the last word.
        if self.0 == other.0 {
            return true;
        }
        // SAFETY: both are jsonb datums.
        unsafe {
            pgrx::direct_function_call::<bool>(pg_sys::jsonb_eq, &[Some(self.datum()), Some(other.datum())])
                .unwrap_or(false)
        }
    }
}

impl FromDatum for Json {
    unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, _: Oid) -> Option<Self> {
        // SAFETY: the caller vouches for the type.
        (!is_null).then(|| unsafe { Self::copy(datum) })
    }
}

/// Converts a value of any type as `to_jsonb` does.
///
/// # Errors
/// What the type's output function raises.
pub(super) fn to_jsonb(datum: Datum, type_oid: Oid) -> Json {
    // SAFETY: to_jsonb finds its argument's type in the call's expression tree, so one is built: to_jsonb(const).
    unsafe {
        let mut finfo = pg_sys::FmgrInfo::default();
        let constant = pg_sys::makeConst(type_oid, -1, Oid::INVALID, -1, Datum::null(), true, false);
        let args = pg_sys::lappend(std::ptr::null_mut(), constant.cast());
        let expr = pg_sys::makeFuncExpr(
            Oid::INVALID,
            pg_sys::JSONBOID,
            args,
            Oid::INVALID,
            Oid::INVALID,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        );
        finfo.fn_expr = expr.cast();
        finfo.fn_mcxt = pg_sys::CurrentMemoryContext;
        // One NullableDatum behind the fixed part, as the LOCAL_FCINFO macro lays it out; u64 words for alignment.
        let words = (size_of::<pg_sys::FunctionCallInfoBaseData>() + size_of::<pg_sys::NullableDatum>()).div_ceil(8);
        let mut space = vec![0_u64; words];
        let fcinfo = space.as_mut_ptr().cast::<pg_sys::FunctionCallInfoBaseData>();
        (*fcinfo).flinfo = &mut finfo;
        (*fcinfo).nargs = 1;
        (*fcinfo).args.as_mut_ptr().write(pg_sys::NullableDatum {
            value: datum,
            isnull: false,
        });
        let result = protect(|| raw::to_jsonb(fcinfo));
        Json::copy(result)
    }
}

/// A run's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RunId(pub(crate) [u8; 16]);

impl RunId {
    /// A new UUIDv7: ordered by time, so that the newest rows lie together in indexes.
    pub(crate) fn generate() -> Self {
        let millis = (clock() + POSTGRES_EPOCH_MICROS) / 1000;
        let uuid = uuid::Builder::from_unix_timestamp_millis(millis as u64, &random_bytes());
        Self(uuid.into_uuid().into_bytes())
    }
}

impl RunId {
    /// The least id of a time: those of runs that were made before it are less.
    pub(crate) fn least_at(at: Timestamp) -> Self {
        let millis = at.saturating_add(POSTGRES_EPOCH_MICROS).max(0) / 1000;
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        Self(bytes)
    }

    /// When it was made, to the millisecond.
    pub(crate) fn made_at(self) -> Timestamp {
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&self.0[..6]);
        i64::from_be_bytes(millis) * 1000 - POSTGRES_EPOCH_MICROS
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(|uuid| Self(uuid.into_bytes()))
    }
}

/// A random (version 4) UUID's text.
pub(crate) fn random_uuid() -> String {
    uuid::Builder::from_random_bytes(random_bytes()).into_uuid().to_string()
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

impl FromDatum for RunId {
    unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, _: Oid) -> Option<Self> {
        // SAFETY: a uuid datum points at sixteen bytes.
        (!is_null).then(|| Self(unsafe { *datum.cast_mut_ptr::<[u8; 16]>() }))
    }
}

const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Microseconds since 2000-01-01 UTC: `timestamptz`'s own unit.
pub(crate) type Timestamp = i64;

/// Random bytes of cryptographic quality.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // SAFETY: writes N bytes. It fails only without any source of randomness; zeros would make equal ids.
    if !unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), N) } {
        guard::throw(PgError::new(
            super::errdata::INTERNAL_ERROR,
            "could not generate random values",
        ));
    }
    bytes
}

/// A number in [0, 1).
pub(crate) fn random_unit() -> f64 {
    (u64::from_ne_bytes(random_bytes()) >> 11) as f64 / (1_u64 << 53) as f64
}

/// An `interval`: months, days and microseconds are apart, because a month has no fixed length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    months: i32,
    days: i32,
    micros: i64,
}

impl Interval {
    /// Parses Postgres' interval syntax.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = std::ffi::CString::new(text).ok()?;
        // SAFETY: the error is not passed on as success: the caller raises its own.
        unsafe {
            let words =
                (size_of::<pg_sys::FunctionCallInfoBaseData>() + 3 * size_of::<pg_sys::NullableDatum>()).div_ceil(8);
            let mut space = vec![0_u64; words];
            let fcinfo = space.as_mut_ptr().cast::<pg_sys::FunctionCallInfoBaseData>();
            (*fcinfo).nargs = 3;
            let args = (*fcinfo).args.as_mut_ptr();
            for (i, value) in [Datum::from(text.as_ptr()), Datum::from(0_i32), Datum::from(-1_i32)]
                .into_iter()
                .enumerate()
            {
                args.add(i).write(pg_sys::NullableDatum { value, isnull: false });
            }
            let datum = guard::attempt(|| raw::interval_in(fcinfo)).ok()?;
            Self::from_polymorphic_datum(datum, false, Oid::INVALID)
        }
    }

    pub(crate) fn from_micros(micros: i64) -> Self {
        Self {
            months: 0,
            days: 0,
            micros,
        }
    }

    /// Months, days and microseconds.
    pub(crate) fn parts(self) -> (i32, i32, i64) {
        (self.months, self.days, self.micros)
    }

    /// Length in microseconds, with months of 30 and days of 24 hours, as Postgres compares intervals.
    pub(crate) fn micros(self) -> i64 {
        const DAY: i64 = 86_400_000_000;
        (i64::from(self.months) * 30 + i64::from(self.days))
            .saturating_mul(DAY)
            .saturating_add(self.micros)
    }

    /// `at + self` by the calendar and the session's time zone.
    pub(crate) fn after(self, at: Timestamp) -> Timestamp {
        let raw = pg_sys::Interval {
            time: self.micros,
            day: self.days,
            month: self.months,
        };
        // SAFETY: timestamptz + interval; raises 22008 when out of range.
        unsafe {
            pgrx::direct_function_call_as_datum(
                pg_sys::timestamptz_pl_interval,
                &[Some(Datum::from(at)), Some(Datum::from(std::ptr::from_ref(&raw)))],
            )
            .map_or(at, |datum| datum.value() as i64)
        }
    }
}

impl FromDatum for Interval {
    unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, _: Oid) -> Option<Self> {
        (!is_null).then(|| {
            // SAFETY: an interval datum points at one.
            let raw = unsafe { &*datum.cast_mut_ptr::<pg_sys::Interval>() };
            Self {
                months: raw.month,
                days: raw.day,
                micros: raw.time,
            }
        })
    }
}

/// Text of a `timestamptz` in ISO form, for messages.
pub(crate) fn timestamp_text(at: Timestamp) -> String {
    // SAFETY: returns a static, NUL-terminated buffer, copied at once.
    unsafe {
        core::ffi::CStr::from_ptr(pg_sys::timestamptz_to_str(at))
            .to_string_lossy()
            .into_owned()
    }
}

/// A `timestamptz` as JSON has it: ISO text.
pub(crate) fn timestamp_json(at: Timestamp) -> Json {
    to_jsonb(Datum::from(at), pg_sys::TIMESTAMPTZOID)
}

/// Reads back what [`timestamp_json`] made.
pub(crate) fn timestamp_from_json(value: &serde_json::Value) -> Option<Timestamp> {
    let text = std::ffi::CString::new(value.as_str()?).ok()?;
    // SAFETY: timestamptz_in(text, -, no typmod) of text that Postgres made itself.
    unsafe {
        pgrx::direct_function_call_as_datum(
            pg_sys::timestamptz_in,
            &[
                Some(Datum::from(text.as_ptr())),
                Some(Datum::from(0_i32)),
                Some(Datum::from(-1_i32)),
            ],
        )
        .map(|datum| datum.value() as i64)
    }
}

/// An argument of a statement.
pub(crate) trait Argument {
    fn to_arg(&self) -> Option<Datum>;
}

macro_rules! by_value {
    ($($type:ty),*) => {$(
        impl Argument for $type {
            fn to_arg(&self) -> Option<Datum> { self.into_datum() }
        }
    )*};
}
by_value!(bool, i16, i32, i64, f64, Oid);

impl Argument for str {
    fn to_arg(&self) -> Option<Datum> {
        self.into_datum()
    }
}

impl Argument for String {
    fn to_arg(&self) -> Option<Datum> {
        self.as_str().into_datum()
    }
}

impl Argument for RunId {
    fn to_arg(&self) -> Option<Datum> {
        Some(Datum::from(self.0.as_ptr()))
    }
}

impl Argument for Json {
    fn to_arg(&self) -> Option<Datum> {
        Some(self.datum())
    }
}

/// A `uuid[]`.
impl Argument for Vec<RunId> {
    fn to_arg(&self) -> Option<Datum> {
        let mut elements: Vec<Datum> = self.iter().map(|id| Datum::from(id.0.as_ptr())).collect();
        Some(array(&mut elements, pg_sys::UUIDOID, 16, false, b'c'))
    }
}

/// An `integer[]`.
impl Argument for Vec<i32> {
    fn to_arg(&self) -> Option<Datum> {
        let mut elements: Vec<Datum> = self.iter().map(|number| Datum::from(*number)).collect();
        Some(array(&mut elements, pg_sys::INT4OID, 4, true, b'i'))
    }
}

/// A `text[]`.
impl Argument for Vec<String> {
    fn to_arg(&self) -> Option<Datum> {
        let mut elements: Vec<Datum> = self.iter().filter_map(Argument::to_arg).collect();
        Some(array(&mut elements, pg_sys::TEXTOID, -1, false, b'i'))
    }
}

/// The place of a row version in its table (`ctid`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tid(pg_sys::ItemPointerData);

impl FromDatum for Tid {
    unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, _: Oid) -> Option<Self> {
        // SAFETY: a tid datum points at one.
        (!is_null).then(|| Self(unsafe { *datum.cast_mut_ptr::<pg_sys::ItemPointerData>() }))
    }
}

impl Argument for Tid {
    fn to_arg(&self) -> Option<Datum> {
        Some(Datum::from(std::ptr::from_ref(&self.0)))
    }
}

/// A `tid[]`.
impl Argument for Vec<Tid> {
    fn to_arg(&self) -> Option<Datum> {
        let mut elements: Vec<Datum> = self.iter().map(|tid| Datum::from(std::ptr::from_ref(&tid.0))).collect();
        Some(array(&mut elements, pg_sys::TIDOID, 6, false, b's'))
    }
}

fn array(elements: &mut [Datum], element_type: Oid, length: i32, by_value: bool, align: u8) -> Datum {
    // SAFETY: copies the elements into a palloc'd array.
    unsafe {
        Datum::from(pg_sys::construct_array(
            elements.as_mut_ptr(),
            elements.len() as i32,
            element_type,
            length,
            by_value,
            align as core::ffi::c_char,
        ))
    }
}

impl<T: Argument> Argument for Option<T> {
    fn to_arg(&self) -> Option<Datum> {
        self.as_ref().and_then(Argument::to_arg)
    }
}

impl<T: Argument + ?Sized> Argument for &T {
    fn to_arg(&self) -> Option<Datum> {
        (**self).to_arg()
    }
}
