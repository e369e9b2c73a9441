//! Whether what is paused has changed.

use super::state::STATE;

/// A number that changes with each commit that sets or lifts a pause; `None` without shared memory.
pub(crate) fn generation() -> Option<u64> {
    STATE.with(|state| state.pauses)
}
