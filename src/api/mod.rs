//! Faces of the SQL functions: arguments in, results out, nothing decided. One file a topic, as in `sql/functions/`.

mod cache;
mod check;
mod client;
mod cron;
mod explain;
mod inside;
mod metrics;
mod operate;
mod operations;
mod parallel;
mod pictures;
mod privileges;
mod retention;
mod schedules;
mod tasks;
mod test;
mod triggers;
mod values;
mod versions;
