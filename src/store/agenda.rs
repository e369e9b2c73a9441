//! The agenda of a rehearsal. While one is open, what runs would have in `ready` and `timers` is kept here, in this process:
//! nobody else is to work on them, and nothing is to be left of them. Only runs that were inserted meanwhile are on it.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};

use super::branches::Branch;
use super::statement;
use crate::pg::{Json, RunId, Timestamp, scope};

statement!(TRACE, "run_trace", UUIDS, UUID, TIMESTAMPTZ, TIMESTAMPTZ, JSONB);

/// A run, or a branch of one.
pub(crate) type Unit = (RunId, Option<Branch>);

#[derive(Default)]
struct Agenda {
    /// In the order in which they were inserted.
    runs: Vec<RunId>,
    ready: VecDeque<Unit>,
    /// By time, run, call and item.
    timers: BTreeSet<(Timestamp, RunId, i32, i32)>,
}

impl Agenda {
    fn add(&mut self, unit: Unit) {
        if self.runs.contains(&unit.0) && !self.ready.contains(&unit) {
            self.ready.push_back(unit);
        }
    }
}

thread_local! {
    static AGENDA: RefCell<Option<Agenda>> = const { RefCell::new(None) };
}

/// From here on `ready` and `timers` get no rows from this process, until [`close`].
pub(crate) fn open() {
    AGENDA.set(Some(Agenda::default()));
}

pub(crate) fn close() {
    AGENDA.set(None);
}

fn with<T>(f: impl FnOnce(&mut Agenda) -> T) -> Option<T> {
    AGENDA.with_borrow_mut(|agenda| agenda.as_mut().map(f))
}

/// A run was inserted.
pub(super) fn inserted(run: RunId) {
    with(|agenda| agenda.runs.push(run));
}

/// True if the hint is taken care of here: kept, or dropped if the run is none of the rehearsal's.
pub(super) fn takes_ready(run: RunId) -> bool {
    with(|agenda| agenda.add((run, None))).is_some()
}

/// As [`takes_ready`], of branches: items of a call.
pub(super) fn takes_branches(run: RunId, n: i32, first: i32, last: i32) -> bool {
    with(|agenda| {
        for item in first..=last {
            let branch = Branch { run_id: run, n, item };
            agenda.add((run, Some(branch)));
        }
    })
    .is_some()
}

/// True if the timer is taken care of here; `item` 0: it is not a branch's.
pub(super) fn takes_timer(due: Timestamp, run: RunId, n: i32, item: i32) -> bool {
    with(|agenda| {
        if agenda.runs.contains(&run) {
            agenda.timers.insert((due, run, n, item));
        }
    })
    .is_some()
}

/// True if the timer was one of the agenda's to take away.
pub(super) fn forgets_timer(due: Timestamp, run: RunId, n: i32) -> bool {
    with(|agenda| agenda.timers.remove(&(due, run, n, 0))).is_some()
}

/// Makes one of the rehearsal's runs, or a branch of one, ready.
pub(crate) fn add_ready(unit: Unit) {
    with(|agenda| agenda.add(unit));
}

/// What to take the next turn of.
pub(crate) fn next_ready() -> Option<Unit> {
    with(|agenda| agenda.ready.pop_front()).flatten()
}

/// When the next timer falls due.
pub(crate) fn next_due() -> Option<Timestamp> {
    with(|agenda| agenda.timers.first().map(|(due, ..)| *due)).flatten()
}

/// Makes ready whose timers are due.
pub(crate) fn move_due(now: Timestamp) {
    with(|agenda| {
        while let Some((_, run_id, n, item)) = agenda.timers.first().copied().filter(|(due, ..)| *due <= now) {
            agenda.timers.pop_first();
            let branch = Branch { run_id, n, item };
            agenda.add((run_id, (item > 0).then_some(branch)));
        }
    });
}

/// All runs that were inserted.
pub(crate) fn runs() -> Vec<RunId> {
    with(|agenda| agenda.runs.clone()).unwrap_or_default()
}

/// What has become of the rehearsal's runs since `began`, as one object: `run`, with the others in it.
pub(crate) fn trace(run: RunId, began: Timestamp, now: Timestamp, unused: &Json) -> Option<Json> {
    let runs = runs();
    scope::with_plain_output(|| TRACE.first(&[&runs, &run, &began, &now, unused], |row| row.need(0)))
}
