//! Clients that wait for the end of a run, or for what it publishes.

use super::slots::clean_up_at_exit;
use super::state::{STATE, Waiter};
use crate::pg::latch::LatchRef;
use crate::pg::{RunId, process};

/// Waits of clients for the end of a run: false if there is no place (or no shared memory).
pub(crate) fn wait_for(run: RunId) -> bool {
    take_place(run, false)
}

/// As [`wait_for`], to be woken also when the run has published something.
pub(crate) fn wait_for_values(run: RunId) -> bool {
    take_place(run, true)
}

fn take_place(run: RunId, values: bool) -> bool {
    clean_up_at_exit();
    STATE
        .with(|state| {
            let place = state.waiters.iter_mut().find(|waiter| waiter.run.is_none())?;
            *place = Waiter {
                run: Some(run),
                values,
                pid: process::my_pid(),
                latch: LatchRef::mine(),
            };
            state.waiting += 1;
            Some(())
        })
        .flatten()
        .is_some()
}

/// Ends all waits of this process.
pub(crate) fn stop_waiting() {
    STATE.with(|state| {
        let pid = process::my_pid();
        for waiter in state
            .waiters
            .iter_mut()
            .filter(|waiter| waiter.run.is_some() && waiter.pid == pid)
        {
            waiter.run = None;
            state.waiting -= 1;
        }
    });
}
