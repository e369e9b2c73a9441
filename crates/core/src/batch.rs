//! How many instances an executor takes into one transaction.

use std::collections::{HashMap, HashSet};

/// Time after which a transaction with finished work in it is committed, in microseconds: what a commit is shared over. More,
/// where commits take long, on a slow disk or to a synchronous standby (see [`Pace::budget`]).
pub const BUDGET: i64 = 5_000;

/// A budget that follows the commits is so many times one of them...
const COMMITS: i64 = 16;

/// ... and at most this. What a step has locked stays locked so long, and its end is not seen before.
pub const LARGEST_BUDGET: i64 = 50_000;

/// Time that anything in a shared transaction may take before it is interrupted, to be run again alone. Nobody waits
/// longer than this for a neighbour in the same transaction.
pub const PATIENCE: i64 = 50_000;

/// Steps in one transaction: each is a subtransaction, and Postgres keeps 64 of a transaction at hand; beyond that every
/// other session's visibility checks get slower.
pub const MAX_STEPS: u32 = 60;

const LARGEST: u32 = 64;

/// Adapts the size of claims to the pace of the work: as many as fit into the budget, one if the last ones were slow.
#[derive(Debug)]
pub struct Pace {
    size: u32,
    /// Microseconds that commits take, a moving average.
    commit: i64,
    /// Microseconds of the last attempt of steps that took longer than the budget, by workflow definition and step.
    slow: HashMap<(i32, String), i64>,
    /// Steps of procedures, by workflow definition, behind which the procedure was last left (for a wait, with an error).
    left: HashSet<(i32, String)>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            size: 1,
            commit: 0,
            slow: HashMap::new(),
            left: HashSet::new(),
        }
    }
}

impl Pace {
    /// Instances to claim next.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Microseconds that a transaction with finished work in it may go on.
    pub fn budget(&self) -> i64 {
        (COMMITS * self.commit).clamp(BUDGET, LARGEST_BUDGET)
    }

    /// Learns how long a commit took. One that took much longer than others counts little.
    pub fn observe_commit(&mut self, micros: i64) {
        self.commit += (micros.clamp(0, LARGEST_BUDGET) - self.commit) / 8;
    }

    /// Learns from a transaction that worked on `instances` for `micros`.
    pub fn observe(&mut self, instances: u32, micros: i64) {
        let each = (micros / i64::from(instances.max(1))).max(1);
        let fitting = u32::try_from(self.budget() / each).unwrap_or(LARGEST).clamp(1, LARGEST);
        // Up by doubling, down at once: a wrong guess downwards costs a commit, upwards a neighbour's wait.
        self.size = fitting.min(self.size * 2);
    }

    /// A batch has failed as a whole: the next ones are single.
    pub fn reset(&mut self) {
        self.size = 1;
    }

    /// True if the step is known to take long.
    pub fn is_slow(&self, definition: i32, step: &str) -> bool {
        !self.slow.is_empty() && self.slow.contains_key(&(definition, step.to_owned()))
    }

    /// Learns how long a step took.
    pub fn observe_step(&mut self, definition: i32, step: &str, micros: i64) {
        if micros > BUDGET {
            if self.slow.len() >= NAMES {
                self.slow.clear();
            }
            self.slow.insert((definition, step.to_owned()), micros);
        } else if !self.slow.is_empty() {
            self.slow.remove(&(definition, step.to_owned()));
        }
    }
}

/// Names that are remembered of each sort. They may be generated; forgetting one costs an interruption or a repetition.
const NAMES: usize = 1000;

impl Pace {
    /// True if a procedure is likely to be left right behind this step: then the step is to be committed first.
    pub fn is_left_after(&self, definition: i32, step: &str) -> bool {
        !self.left.is_empty() && self.left.contains(&(definition, step.to_owned()))
    }

    /// Learns whether a procedure was left behind this step or went on to the next: the last time counts.
    pub fn observe_leaving(&mut self, definition: i32, step: &str, left: bool) {
        if left {
            if self.left.len() >= NAMES {
                self.left.clear();
            }
            self.left.insert((definition, step.to_owned()));
        } else if !self.left.is_empty() {
            self.left.remove(&(definition, step.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_grow_with_quick_work_and_shrink_at_once() {
        let mut pace = Pace::default();
        for expected in [2, 4, 8, 16] {
            pace.observe(pace.size(), i64::from(pace.size()) * 100);
            assert_eq!(pace.size(), expected);
        }
        pace.observe(16, 1_000_000);
        assert_eq!(pace.size(), 1);
        for _ in 0..20 {
            pace.observe(pace.size(), 1);
        }
        assert_eq!(pace.size(), LARGEST);
    }

    #[test]
    fn slow_commits_are_shared_by_more() {
        let mut pace = Pace::default();
        assert_eq!(pace.budget(), BUDGET);
        let mut after = |micros: i64| {
            (0..100).for_each(|_| pace.observe_commit(micros));
            pace.budget()
        };
        assert_eq!(after(200), BUDGET);
        assert!((31_000..=32_000).contains(&after(2_000)));
        assert_eq!(after(1_000_000), LARGEST_BUDGET);
        assert_eq!(after(-1), BUDGET);
        pace.observe_commit(2_000);
        assert_eq!(pace.budget(), BUDGET, "one says little");
    }

    #[test]
    fn a_step_is_slow_until_it_is_quick_again() {
        let mut pace = Pace::default();
        pace.observe_step(1, "a", BUDGET + 1);
        assert!(pace.is_slow(1, "a"));
        assert!(!pace.is_slow(2, "a"));
        pace.observe_step(1, "a", 10);
        assert!(!pace.is_slow(1, "a"));
    }

    #[test]
    fn a_procedure_is_expected_to_be_left_where_it_was_left_last() {
        let mut pace = Pace::default();
        assert!(!pace.is_left_after(1, "a"));
        pace.observe_leaving(1, "a", true);
        assert!(pace.is_left_after(1, "a"));
        assert!(!pace.is_left_after(2, "a"));
        pace.observe_leaving(1, "a", false);
        assert!(!pace.is_left_after(1, "a"));
    }
}
