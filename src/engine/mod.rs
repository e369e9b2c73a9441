//! Use cases. `turn` is the heart: replay a workflow function against its history, then do the one thing it wants next.

mod act;
pub(crate) mod batch;
pub(crate) mod begin;
mod branch;
pub(crate) mod calls;
pub(crate) mod child;
pub(crate) mod code;
pub(crate) mod continued;
pub(crate) mod define;
pub(crate) mod history;
mod in_place;
pub(crate) mod map;
pub(crate) mod observe;
mod passage;
pub(crate) mod queue;
mod recall;
pub(crate) mod saga;
pub(crate) mod send;
pub(crate) mod start;
mod step;
pub(crate) mod target;
pub(crate) mod task;
pub(crate) mod turn;
mod waits;
