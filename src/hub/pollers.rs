//! Sessions that wait for tasks in `CALL wf_poll`.

use super::slots::clean_up_at_exit;
use super::state::{Poller, QUEUES, STATE, State};
use crate::pg::latch::LatchRef;
use crate::pg::{Oid, process};

/// A queue's name as it stands in shared memory (FNV-1a). Two of the same number cost a look.
pub(super) fn digest(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// This session waits for tasks of these queues; false if there is no place (or no shared memory).
pub(crate) fn register(queues: &[String]) -> bool {
    clean_up_at_exit();
    let mut digests = [0; QUEUES];
    // Too many to be kept apart: all.
    let count = if queues.len() > QUEUES { 0 } else { queues.len() };
    for (place, queue) in digests.iter_mut().zip(&queues[..count]) {
        *place = digest(queue);
    }
    STATE
        .with(|state| {
            let place = state.pollers.iter_mut().find(|poller| poller.pid == 0)?;
            *place = Poller {
                pid: process::my_pid(),
                database: process::my_database(),
                latch: LatchRef::mine(),
                queues: digests,
                count: count as u8,
                woken: false,
            };
            state.polling += 1;
            Some(())
        })
        .flatten()
        .is_some()
}

/// This session waits no more.
pub(crate) fn unregister() {
    let pid = process::my_pid();
    STATE.with(|state| {
        for poller in state.pollers.iter_mut().filter(|poller| poller.pid == pid) {
            poller.pid = 0;
            state.polling -= 1;
        }
    });
}

/// True if there has been something since the last call. A latch alone would not do: whoever waits for a lock resets it.
pub(crate) fn take_woken() -> bool {
    let pid = process::my_pid();
    let woken = |state: &mut State| {
        let mine = state.pollers.iter_mut().find(|poller| poller.pid == pid);
        mine.is_some_and(|poller| std::mem::take(&mut poller.woken))
    };
    STATE.with(woken).unwrap_or(false)
}

/// Wakes those that wait for any of the queues; or all.
pub(super) fn wake(state: &mut State, database: Oid, queues: &[u64], all: bool) {
    if state.polling == 0 || (queues.is_empty() && !all) {
        return;
    }
    for poller in state
        .pollers
        .iter_mut()
        .filter(|poller| poller.pid != 0 && poller.database == database)
    {
        let waits_for = &poller.queues[..usize::from(poller.count)];
        if all || waits_for.is_empty() || waits_for.iter().any(|queue| queues.contains(queue)) {
            poller.woken = true;
            poller.latch.set();
        }
    }
}
