//! The decisions of pg_workflow, as pure functions: no Postgres, no I/O, no clock, no randomness of their own.

pub mod batch;
pub mod events;
pub mod graph;
pub mod histogram;
pub mod lease;
pub mod lexer;
pub mod limit;
pub mod lint;
pub mod options;
pub mod policy;
pub mod retention;
pub mod schedule;
pub mod schema;
pub mod script;
pub mod shape;
pub mod signature;
pub mod sparing;
pub mod sqlstate;
pub mod target;
pub mod ticks;
pub mod timeline;
pub mod trace;
pub mod words;
