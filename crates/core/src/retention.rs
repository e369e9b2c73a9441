//! How long what has ended is kept, and how what is not is removed bit by bit.

/// A rule for instances of a workflow (or of any), and of an owner (or of any). Ages in microseconds; one that is not given
/// is said by a wider rule. `failed` counts for cancelled ones too, and is as `completed` where it is not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    pub workflow: Option<String>,
    pub owner: Option<u32>,
    pub completed: Option<i64>,
    pub failed: Option<i64>,
}

/// What is known of an instance that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended<'a> {
    pub workflow: &'a str,
    pub owner: u32,
    pub failed: bool,
    /// Microseconds.
    pub at: i64,
}

/// All rules, and what counts where none of them says anything (`None`: for ever).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    default: Option<i64>,
    /// The narrower first.
    rules: Vec<Rule>,
}

impl Rules {
    pub fn new(default: Option<i64>, mut rules: Vec<Rule>) -> Self {
        rules.sort_by_key(|rule| (rule.workflow.is_none(), rule.owner.is_none()));
        Self { default, rules }
    }

    /// True if some rule asks for a workflow's name.
    pub fn by_workflow(&self) -> bool {
        self.rules.iter().any(|rule| rule.workflow.is_some())
    }

    /// When an instance may be removed; `None`: never.
    pub fn due(&self, ended: Ended) -> Option<i64> {
        let concerns = |rule: &&Rule| {
            rule.workflow.as_deref().is_none_or(|name| name == ended.workflow)
                && rule.owner.is_none_or(|owner| owner == ended.owner)
        };
        let says = |rule: &Rule| rule.failed.filter(|_| ended.failed).or(rule.completed);
        let age = self.rules.iter().filter(concerns).find_map(says).or(self.default)?;
        ended.at.checked_add(age)
    }

    /// The least age at which anything may be removed; `None`: nothing may, ever.
    pub fn least(&self) -> Option<i64> {
        let given = self.rules.iter().flat_map(|rule| [rule.completed, rule.failed]);
        given.flatten().chain(self.default).min()
    }
}

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// Least time between two sweeps: what is kept for `least` may be kept a twentieth longer, and an hour at most.
pub fn period(least: i64) -> i64 {
    (least / 20).clamp(SECOND, HOUR)
}

/// How long to wait before what could not be removed is looked at again, given the last wait of this kind: something is
/// about it that may last, such as a run behind it that is kept for longer.
pub fn patience(last: i64) -> i64 {
    last.saturating_mul(2).clamp(SECOND, DAY)
}

/// How many runs are looked at in one transaction, so that it takes 10 to 30 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch(i32);

impl Default for Batch {
    fn default() -> Self {
        Self(100)
    }
}

impl Batch {
    const LEAST: i32 = 10;
    const MOST: i32 = 2000;

    pub fn size(self) -> i32 {
        self.0
    }

    /// A batch has taken so many microseconds.
    pub fn observe(&mut self, took: i64) {
        if took < 10_000 {
            self.0 = (self.0 * 2).min(Self::MOST);
        } else if took > 30_000 {
            self.0 = (self.0 / 2).max(Self::LEAST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(workflow: Option<&str>, owner: Option<u32>, completed: Option<i64>, failed: Option<i64>) -> Rule {
        Rule {
            workflow: workflow.map(str::to_owned),
            owner,
            completed,
            failed,
        }
    }

    fn ended(workflow: &str, owner: u32, failed: bool) -> Ended<'_> {
        Ended {
            workflow,
            owner,
            failed,
            at: 1000,
        }
    }

    #[test]
    fn the_narrowest_rule_that_says_something_counts() {
        let rules = Rules::new(
            Some(30),
            vec![
                rule(None, None, Some(20), None),
                rule(None, Some(7), Some(10), Some(90)),
                rule(Some("bill"), None, None, Some(500)),
                rule(Some("bill"), Some(7), Some(1), None),
            ],
        );
        let due = |workflow, owner, failed| rules.due(ended(workflow, owner, failed)).map(|at| at - 1000);
        assert_eq!(due("other", 8, false), Some(20));
        assert_eq!(
            due("other", 8, true),
            Some(20),
            "failed is as completed where it is not given"
        );
        assert_eq!(due("other", 7, false), Some(10));
        assert_eq!(due("other", 7, true), Some(90));
        assert_eq!(due("bill", 8, true), Some(500));
        assert_eq!(
            due("bill", 8, false),
            Some(20),
            "what it leaves open is said by a wider one"
        );
        assert_eq!(due("bill", 7, false), Some(1));
        assert_eq!(due("bill", 7, true), Some(1));
        assert_eq!(rules.least(), Some(1));
        assert!(rules.by_workflow());
    }

    #[test]
    fn without_a_rule_or_beyond_all_time_things_are_kept() {
        let none = Rules::default();
        assert_eq!((none.due(ended("a", 1, false)), none.least()), (None, None));
        let long = Rules::new(None, vec![rule(None, None, Some(i64::MAX), None)]);
        assert_eq!(long.due(ended("a", 1, false)), None);
        let own = Rules::new(None, vec![rule(Some("a"), None, Some(0), None)]);
        assert_eq!(own.due(ended("a", 1, false)), Some(1000));
        assert_eq!(own.due(ended("b", 1, false)), None);
    }

    #[test]
    fn sweeps_keep_their_distance() {
        assert_eq!(period(0), SECOND);
        assert_eq!(period(DAY / 24), 180 * SECOND);
        assert_eq!(period(30 * DAY), HOUR);
        assert_eq!(period(i64::MAX), HOUR);
        assert_eq!(patience(SECOND), 2 * SECOND);
        assert_eq!(patience(DAY), DAY);
        assert_eq!(patience(i64::MAX), DAY);
    }

    #[test]
    fn batches_keep_to_their_time() {
        let mut batch = Batch::default();
        for _ in 0..20 {
            batch.observe(1000);
        }
        assert_eq!(batch.size(), Batch::MOST);
        batch.observe(20_000);
        assert_eq!(batch.size(), Batch::MOST);
        for _ in 0..20 {
            batch.observe(1_000_000);
        }
        assert_eq!(batch.size(), Batch::LEAST);
    }
}
