//! Use cases. `turn` is the heart: replay a workflow function against its history, then do the one thing it wants next.

mod act;
pub(crate) mod batch;
pub(crate) mod calls;
pub(crate) mod check;
pub(crate) mod code;
pub(crate) mod define;
pub(crate) mod history;
mod in_place;
pub(crate) mod observe;
mod passage;
mod recall;
mod remarks;
pub(crate) mod send;
pub(crate) mod start;
mod step;
pub(crate) mod target;
pub(crate) mod triggers;
pub(crate) mod turn;
mod waits;
