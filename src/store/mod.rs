//! Rows in, rows out: one file a family of tables. The only caller of `pg::spi`'s statements; the SQL lies in
//! `sql/queries/`, where it can be read without Rust. Everything here runs inside `pg::scope::as_engine` or in a worker's
//! engine state.

pub(crate) mod actions;
pub(crate) mod agenda;
pub(crate) mod answers;
pub(crate) mod branches;
pub(crate) mod cache;
pub(crate) mod commands;
pub(crate) mod crashes;
pub(crate) mod dedup;
pub(crate) mod definitions;
pub(crate) mod functions;
pub(crate) mod home;
pub(crate) mod inbox;
pub(crate) mod logs;
pub(crate) mod operations;
pub(crate) mod pauses;
pub(crate) mod places;
pub(crate) mod queues;
pub(crate) mod ready;
pub(crate) mod reasons;
pub(crate) mod remarks;
pub(crate) mod retention;
pub(crate) mod runs;
pub(crate) mod schedules;
pub(crate) mod steps;
pub(crate) mod streams;
pub(crate) mod tasks;
pub(crate) mod timeline;
pub(crate) mod timers;
pub(crate) mod traces;
pub(crate) mod triggers;
pub(crate) mod versions;
pub(crate) mod waits;

/// A statement from `sql/queries/`.
macro_rules! statement {
    ($name:ident, $file:literal $(, $type:ident)*) => {
        static $name: $crate::pg::spi::Statement = $crate::pg::spi::Statement::new(
            include_str!(concat!("../../sql/queries/", $file, ".sql")),
            &[$($crate::pg::spi::types::$type),*],
        );
    };
}
pub(crate) use statement;
