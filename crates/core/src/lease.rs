//! The times that bound a task: when something must be done about it, and what it is then.
//!
//! All times and durations are microseconds.

/// What the workflow has asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// From entering the queue to being claimed (schedule to start).
    pub start: Option<i64>,
    /// Of one attempt (start to close).
    pub attempt: Option<i64>,
    /// From one sign of life to the next, whatever lease the worker asks for.
    pub heartbeat: Option<i64>,
    /// From the call to its answer, retries included (schedule to close).
    pub total: Option<i64>,
}

/// Where an open task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// In its queue since.
    Queued(i64),
    /// To be queued again at.
    Retrying(i64),
    Running {
        started_at: i64,
        lease_until: i64,
    },
}

/// What has to be done about a task whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// It goes back into its queue.
    Queue,
    /// Nobody has claimed it in time.
    NotStarted,
    /// The attempt has taken too long.
    AttemptOver,
    /// Its worker has not been heard of.
    LeaseOver,
    /// The whole has taken too long.
    TotalOver,
}

impl Limits {
    /// The lease that a worker gets who asks for `asked`.
    pub fn lease(self, asked: i64) -> i64 {
        self.heartbeat.map_or(asked, |heartbeat| asked.min(heartbeat))
    }

    /// When the work has to be done; `None`: whenever it is.
    pub fn deadline(self, created_at: i64, started_at: i64) -> Option<i64> {
        let attempt = self.attempt.map(|limit| started_at.saturating_add(limit));
        let total = self.total.map(|limit| created_at.saturating_add(limit));
        attempt.into_iter().chain(total).min()
    }

    /// The next thing to be done about a task, and when.
    pub fn next(self, created_at: i64, stand: Stand) -> Option<(i64, Due)> {
        let after = |from: i64, limit: Option<i64>, due: Due| limit.map(|limit| (from.saturating_add(limit), due));
        let total = after(created_at, self.total, Due::TotalOver);
        let own = match stand {
            Stand::Queued(since) => [after(since, self.start, Due::NotStarted), None],
            Stand::Retrying(at) => [Some((at, Due::Queue)), None],
            Stand::Running {
                started_at,
                lease_until,
            } => [
                Some((lease_until, Due::LeaseOver)),
                after(started_at, self.attempt, Due::AttemptOver),
            ],
        };
        // Of two at one time the end of the whole.
        total
            .into_iter()
            .chain(own.into_iter().flatten())
            .min_by_key(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        start: Some(10),
        attempt: Some(20),
        heartbeat: Some(5),
        total: Some(100),
    };

    #[test]
    fn the_first_limit_counts() {
        let running = |started_at, lease_until| Stand::Running {
            started_at,
            lease_until,
        };
        for (stand, next) in [
            (Stand::Queued(0), (10, Due::NotStarted)),
            (Stand::Queued(95), (100, Due::TotalOver)),
            (Stand::Retrying(50), (50, Due::Queue)),
            (Stand::Retrying(200), (100, Due::TotalOver)),
            (running(0, 5), (5, Due::LeaseOver)),
            (running(0, 21), (20, Due::AttemptOver)),
            (running(90, 100), (100, Due::TotalOver)),
        ] {
            assert_eq!(LIMITS.next(0, stand), Some(next), "{stand:?}");
        }
    }

    #[test]
    fn without_limits_only_the_lease_ends() {
        let none = Limits::default();
        assert_eq!(none.next(0, Stand::Queued(0)), None);
        let running = Stand::Running {
            started_at: 0,
            lease_until: 7,
        };
        assert_eq!(none.next(0, running), Some((7, Due::LeaseOver)));
        assert_eq!(none.deadline(0, 0), None);
        assert_eq!(none.lease(60), 60);
    }

    #[test]
    fn a_lease_is_no_longer_than_the_heartbeat() {
        assert_eq!(LIMITS.lease(60), 5);
        assert_eq!(LIMITS.lease(3), 3);
        assert_eq!(LIMITS.deadline(0, 90), Some(100));
        assert_eq!(LIMITS.deadline(0, 0), Some(20));
    }
}
