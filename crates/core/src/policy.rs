//! Retry policy: is a failed attempt made again, and when.

use serde_json::Value;

use crate::options::{Fields, OptionError};
use crate::sqlstate;

/// How often and at which distance a step is tried again. Durations are microseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; 0 is without limit.
    pub max_attempts: u32,
    /// Wait before the second attempt.
    pub first_delay: i64,
    /// Factor from each wait to the next.
    pub backoff: f64,
    /// No wait is longer.
    pub max_delay: i64,
    /// Share of the wait that is drawn at random: 0.2 makes 1 s anything from 0.8 s to 1.2 s, so that a thousand steps
    /// that failed together do not come back together.
    pub jitter: f64,
    /// SQLSTATE patterns to retry; empty: all.
    pub retry_on: Vec<String>,
    /// SQLSTATE patterns never to retry; stronger than `retry_on`.
    pub no_retry_on: Vec<String>,
}

/// Errors that a second attempt can cure by itself: lost connections, conflicts, deadlocks, lack of resources, locks not
/// available, a server that is shutting down.
const TRANSIENT: [&str; 5] = ["08*", "40*", "53*", "55P03", "57P*"];

impl Default for RetryPolicy {
    /// Without a policy from the user, transient errors are retried and others fail at once: retrying a violated
    /// constraint or a division by zero only delays the news.
    fn default() -> Self {
        Self {
            retry_on: TRANSIENT.map(str::to_owned).to_vec(),
            ..Self::EVERYTHING
        }
    }
}

/// What becomes of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this many microseconds.
    Retry(i64),
    /// The step has failed for good.
    Fail,
}

impl RetryPolicy {
    /// The base of a user's policy: what it leaves out. Every error is retried.
    pub const EVERYTHING: Self = Self {
        max_attempts: 5,
        first_delay: 1_000_000,
        backoff: 2.0,
        max_delay: 60_000_000,
        jitter: 0.1,
        retry_on: Vec::new(),
        no_retry_on: Vec::new(),
    };

    /// Reads a policy from JSON. `duration` reads an interval's text as microseconds.
    ///
    /// # Errors
    /// Unknown keys, wrong types and values out of range, named by key.
    pub fn from_json(value: &Value, duration: &dyn Fn(&str) -> Option<i64>) -> Result<Self, OptionError> {
        let base = Self::EVERYTHING;
        let mut fields = Fields::of("retry", value, duration)?;
        let policy = Self {
            max_attempts: fields
                .integer("max_attempts", 0, i64::from(i32::MAX))?
                .map_or(base.max_attempts, |n| n as u32),
            first_delay: fields.duration("first_delay")?.unwrap_or(base.first_delay),
            backoff: fields.number("backoff", 1.0, 1000.0)?.unwrap_or(base.backoff),
            max_delay: fields.duration("max_delay")?.unwrap_or(base.max_delay),
            jitter: fields.number("jitter", 0.0, 1.0)?.unwrap_or(base.jitter),
            retry_on: fields.texts("retry_on", "a SQLSTATE or a class such as 40*", sqlstate::is_pattern)?,
            no_retry_on: fields.texts("no_retry_on", "a SQLSTATE or a class such as 40*", sqlstate::is_pattern)?,
        };
        fields.finish()?;
        Ok(policy)
    }

    /// Decides about attempt number `attempt` (from 1), which failed with `sqlstate`. `random` is in [0, 1).
    pub fn decide(&self, attempt: u32, sqlstate: &str, random: f64) -> Verdict {
        let listed = |patterns: &[String]| patterns.iter().any(|p| sqlstate::matches(p, sqlstate));
        let retryable = (self.retry_on.is_empty() || listed(&self.retry_on)) && !listed(&self.no_retry_on);
        if !retryable || (self.max_attempts != 0 && attempt >= self.max_attempts) {
            return Verdict::Fail;
        }
        Verdict::Retry(self.delay(attempt, random))
    }

    /// Wait after attempt `attempt`, in microseconds.
    fn delay(&self, attempt: u32, random: f64) -> i64 {
        // powi with a large exponent gives infinity, which min() cuts back: no overflow at any attempt number.
        let exponent = attempt.saturating_sub(1).min(10_000) as i32;
        let plain = (self.first_delay as f64 * self.backoff.powi(exponent)).min(self.max_delay as f64);
        let spread = 1.0 + self.jitter * (2.0 * random - 1.0);
        (plain * spread) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn seconds(text: &str) -> Option<i64> {
        text.strip_suffix('s')?.parse::<f64>().ok().map(|n| (n * 1e6) as i64)
    }

    fn policy(value: Value) -> Result<RetryPolicy, OptionError> {
        RetryPolicy::from_json(&value, &seconds)
    }

    #[test]
    fn backoff_doubles_up_to_the_cap() {
        let p = policy(json!({"max_attempts": 0, "first_delay": "1s", "backoff": 2, "max_delay": "5s", "jitter": 0}))
            .unwrap();
        let waits: Vec<_> = (1..=5).map(|n| p.decide(n, "P0001", 0.5)).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5].map(|n| Verdict::Retry(n * 1_000_000)));
    }

    #[test]
    fn attempts_are_counted_with_the_first() {
        let p = policy(json!({"max_attempts": 2, "jitter": 0})).unwrap();
        assert_eq!(p.decide(1, "P0001", 0.0), Verdict::Retry(1_000_000));
        assert_eq!(p.decide(2, "P0001", 0.0), Verdict::Fail);
    }

    #[test]
    fn without_a_policy_only_transient_errors_are_retried() {
        let p = RetryPolicy::default();
        for code in ["40001", "40P01", "55P03", "53200", "08006"] {
            assert!(matches!(p.decide(1, code, 0.5), Verdict::Retry(_)), "{code}");
        }
        for code in ["P0001", "23505", "22012", "42883", "25006"] {
            assert_eq!(p.decide(1, code, 0.5), Verdict::Fail, "{code}");
        }
    }

    #[test]
    fn exclusions_are_stronger_than_inclusions() {
        let p = policy(json!({"retry_on": ["P0*"], "no_retry_on": ["P0002"]})).unwrap();
        assert!(matches!(p.decide(1, "P0001", 0.5), Verdict::Retry(_)));
        assert_eq!(p.decide(1, "P0002", 0.5), Verdict::Fail);
        assert_eq!(p.decide(1, "40001", 0.5), Verdict::Fail);
    }

    #[test]
    fn a_wrong_policy_names_its_key() {
        for (value, key) in [
            (json!({"max_atempts": 3}), "max_atempts"),
            (json!({"max_attempts": -1}), "max_attempts"),
            (json!({"max_attempts": "3"}), "max_attempts"),
            (json!({"first_delay": "soon"}), "first_delay"),
            (json!({"first_delay": "-1s"}), "first_delay"),
            (json!({"backoff": 0.5}), "backoff"),
            (json!({"jitter": 2}), "jitter"),
            (json!({"retry_on": ["whatever"]}), "retry_on"),
            (json!({"retry_on": "40001"}), "retry_on"),
        ] {
            let error = policy(value.clone()).unwrap_err().to_string();
            assert!(error.contains(key), "{value}: {error}");
        }
        assert!(policy(json!([1])).is_err());
    }

    proptest! {
        #[test]
        fn waits_are_never_negative_nor_beyond_cap_and_jitter(
            attempt in 1_u32..u32::MAX, first in 0_i64..i64::MAX / 4, backoff in 1.0..1000.0_f64,
            cap in 0_i64..i64::MAX / 4, jitter in 0.0..=1.0_f64, random in 0.0..1.0_f64,
        ) {
            let p = RetryPolicy { max_attempts: 0, first_delay: first, backoff, max_delay: cap, jitter, ..RetryPolicy::EVERYTHING };
            match p.decide(attempt, "P0001", random) {
                Verdict::Retry(wait) => {
                    prop_assert!(wait >= 0);
                    prop_assert!(wait as f64 <= cap as f64 * (1.0 + jitter) + 1.0);
                }
                Verdict::Fail => prop_assert!(false, "everything is retried without limit"),
            }
        }
    }
}
