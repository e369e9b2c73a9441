//! Postgres, behind safe faces. The only module with `unsafe`; nothing here knows what a workflow is.

pub(crate) mod callback;
pub(crate) mod catalog;
pub(crate) mod clock;
pub(crate) mod errdata;
pub(crate) mod fault;
pub(crate) mod fmgr;
pub(crate) mod guard;
pub(crate) mod interrupt;
pub(crate) mod latch;
pub(crate) mod messages;
pub(crate) mod process;
mod raw;
pub(crate) mod reads;
pub(crate) mod scope;
pub(crate) mod shared;
pub(crate) mod shared_array;
pub(crate) mod spi;
pub(crate) mod top_level;
pub(crate) mod txn;
pub(crate) mod unused;
pub(crate) mod value;

pub(crate) use clock::clock;
pub(crate) use errdata::PgError;
pub(crate) use fault::fault;
pub(crate) use pgrx::pg_sys::{Datum, Oid};
pub(crate) use value::{Interval, Json, RunId, Timestamp};
