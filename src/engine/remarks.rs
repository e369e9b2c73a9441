//! What is seen of a workflow function while it runs: tables that it reads outside of steps, so that a replay may find
//! other values in them. Recorded and logged once for each version.

use std::cell::RefCell;
use std::collections::HashSet;

use crate::pg::errdata::{self, pack};
use crate::pg::{PgError, catalog, clock, reads, txn};
use crate::store::remarks;
use crate::store::runs::Locked;

/// Version and relation of remarks that need no look into the table.
type Known = HashSet<(i32, u32)>;

/// Remarks that a process keeps in mind; more are looked up again.
const MAX_KNOWN: usize = 10_000;

thread_local! {
    /// As long as no function changes: then the extension may be another one, too.
    static KNOWN: RefCell<(u64, Known)> = RefCell::default();
}

fn with_known<T>(f: impl FnOnce(&mut Known) -> T) -> T {
    let generation = catalog::functions_generation();
    KNOWN.with_borrow_mut(|(valid, known)| {
        if *valid != generation || known.len() >= MAX_KNOWN {
            known.clear();
            *valid = generation;
        }
        f(known)
    })
}

/// Records what the run's function has read since its call began; true if something was written, so that it is committed
/// before anything that takes long or may abort the transaction. As the engine.
///
/// A row that is rolled back with this transaction is written again by a later replay: only a committed one counts as
/// known.
pub(super) fn record(run: &Locked) -> bool {
    let mut wrote = false;
    for relation in reads::take() {
        let key = (run.def_id, relation.to_u32());
        if with_known(|known| known.contains(&key)) {
            continue;
        }
        let Some(name) = remarks::relation(relation) else {
            with_known(|known| known.insert(key));
            continue;
        };
        match remarks::find(run.def_id, &name) {
            Some(true) => {
                with_known(|known| known.insert(key));
            }
            Some(false) => {}
            // A row of another transaction that this one's snapshot does not show would be an error there.
            None if txn::one_snapshot() => {}
            None => {
                if let Some(recorded) = remarks::insert(run.def_id, &name, run.run_id, run.owner, clock()) {
                    wrote = true;
                    if !recorded.known {
                        warn(&recorded.workflow, recorded.version, &name, run);
                    }
                }
            }
        }
    }
    wrote
}

fn warn(workflow: &str, version: i32, relation: &str, run: &Locked) {
    errdata::warn(PgError {
        detail: Some("A replay may find other values there, and take another path than its history.".to_owned()),
        hint: Some("Read it in a step: wf_step('name', 'SELECT ...').".to_owned()),
        context: Some(format!("workflow \"{workflow}\" instance \"{}\"", run.id)),
        ..PgError::new(
            pack(*b"01000"),
            format!("version {version} of workflow \"{workflow}\" reads {relation} outside of a step"),
        )
    });
}
