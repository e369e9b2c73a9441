//! The backlog of a queue: how much may wait in it, and what becomes of the rest.

use crate::engine::{send, task, turn};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::{Json, Oid, PgError, clock};
use crate::store::answers;
use crate::store::branches::{self, Outcome};
use crate::store::places::{self, Place};
use crate::store::queues::{self, Queue};
use crate::store::runs::{self, Status};
use crate::store::steps::StepStatus;

/// Sees that there is room for one more that waits: by dropping what has waited longest, where the queue says so. What is not
/// committed yet is not counted.
///
/// # Errors
/// WF009 if the backlog is full.
pub(super) fn make_room(queue: &Queue, name: &str, owner: Oid) -> Result<(), Error> {
    let Some(limit) = queue
        .max_backlog
        .filter(|limit| queues::waiting(queue.id, *limit) >= *limit)
    else {
        return Ok(());
    };
    let full = |dropped| Error::QueueFull {
        queue: name.to_owned(),
        limit,
        dropped,
    };
    if !queue.drops_oldest {
        return Err(full(false));
    }
    // Locked, it is about to begin.
    if let Some(place) = places::oldest(queue.id, limit) {
        drop_waiting(&place, owner, &full(true).into());
    }
    Ok(())
}

fn drop_waiting(place: &Place, owner: Oid, error: &PgError) {
    let now = clock();
    // Who finds it locked looks again.
    hints::holding();
    let unit = place.unit();
    if !place.inside {
        task::drop_waiting(place, owner, error, now);
    } else if place.n == 0 {
        for run in runs::lock(&vec![place.run_id]) {
            if run.status == Status::Pending {
                turn::give_up(&run, error);
            }
        }
    } else if let Some((step, run)) = branches::lock(&[unit]).pop() {
        let error = Json::from_value(&error.to_json());
        branches::update(
            unit,
            &Outcome {
                status: StepStatus::Failed.name(),
                attempt: step.attempt,
                result: None,
                error: Some(&error),
                started_at: step.started_at.unwrap_or(now),
                finished_at: Some(now),
                due_at: None,
            },
        );
        places::leave(unit);
        answers::give(unit.run_id, unit.n, unit.item, StepStatus::Failed.name(), None, None);
        send::tell(unit.run_id, run.owner, run.priority);
    }
}
