//! Faces of the SQL functions: arguments in, results out, nothing decided. One file a topic, as in `sql/functions/`.

mod client;
mod inside;
mod operate;
mod parallel;
mod tasks;
