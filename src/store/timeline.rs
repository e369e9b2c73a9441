//! `wf.timeline`, and what is read off histories for graphs.

use pg_workflow_core::graph::{Place, Step};
use pg_workflow_core::timeline::Event;

use super::statement;
use crate::pg::{Oid, RunId};

statement!(ROWS, "timeline_rows", UUID, INT8);
statement!(RUN, "run_numbered", TEXT, INT4);
statement!(STEPS, "graph_steps", TEXT, OID, INT8, INT8, INT4, INT8, BOOL);

/// A run to be drawn.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) run_id: RunId,
    pub(crate) seq: i32,
    pub(crate) owner: Oid,
}

/// A run of an id by its number; without one the open or last one.
pub(crate) fn subject(id: &str, seq: Option<i32>) -> Option<Subject> {
    RUN.first(&[&id, &seq], |row| Subject {
        run_id: row.need(0),
        seq: row.need(1),
        owner: row.need(2),
    })
}

/// The first and the last `keep` events of a run, and how many there are in all.
pub(crate) fn events(run: RunId, keep: i64) -> (Vec<Event>, i64) {
    let mut total = 0;
    let events = ROWS.query(&[&run, &keep], |row| {
        total = row.need(14);
        Event {
            nr: row.need(0),
            parent: row.get(1),
            kind: row.need(2),
            name: row.need(3),
            status: row.need(4),
            attempts: row.get(5).unwrap_or(1),
            occurrence: row.get(6).unwrap_or(1),
            item: row.get(7).unwrap_or(0),
            started: row.get(8),
            finished: row.get(9),
            due: row.get(10),
            error: row.get(11),
            child: row.get(12),
            remark: row.get(13),
        }
    });
    (events, total)
}

/// Instances and runs looked at, calls of a history, edges: what a graph is made from.
const INSTANCES: i64 = 100;
const RUNS: i64 = 100_000;
const CALLS: i32 = 1000;
const EDGES: i64 = 200;

/// How often the calls of a workflow came behind each other, in its last instances that `role` may see (`all`: those of any role), and how
/// many these are.
pub(crate) fn steps(workflow: &str, role: Oid, all: bool) -> (Vec<Step>, i64) {
    let mut instances = 0;
    let steps = STEPS.query(&[&workflow, &role, &INSTANCES, &RUNS, &CALLS, &EDGES, &all], |row| {
        let place = |column| Place {
            kind: row.need(column),
            name: row.need(column + 1),
        };
        instances = row.need(5);
        Step {
            from: place(0),
            to: place(2),
            times: row.need(4),
        }
    });
    (steps, instances)
}
