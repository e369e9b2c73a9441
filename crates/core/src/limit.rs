//! A token bucket: how much may begin now, and when the next.

/// A limit of `rate` in each `per` microseconds, with as much at once. A token is what one beginning takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    pub rate: i32,
    pub per: i64,
    /// What was in it at `filled_at` (microseconds).
    pub tokens: f64,
    pub filled_at: i64,
}

impl Bucket {
    /// What has come in until `now`. A clock that was set back takes nothing away.
    #[must_use]
    pub fn filled(self, now: i64) -> Self {
        let gained = now.saturating_sub(self.filled_at).max(0) as f64 / self.per as f64 * f64::from(self.rate);
        Self {
            tokens: (self.tokens + gained).min(f64::from(self.rate)),
            filled_at: now,
            ..self
        }
    }

    /// Whole tokens in it.
    pub fn available(self) -> u32 {
        // What a sum of fractions falls short of a whole is nothing.
        (self.tokens + 1e-6).max(0.0) as u32
    }

    /// The time at which there is one.
    pub fn next(self) -> i64 {
        let missing = (1.0 - self.tokens).max(0.0);
        let wait = (missing / f64::from(self.rate) * self.per as f64).ceil() as i64;
        self.filled_at.saturating_add(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn full(rate: i32) -> Bucket {
        Bucket {
            rate,
            per: SECOND,
            tokens: f64::from(rate),
            filled_at: 0,
        }
    }

    #[test]
    fn it_gives_its_rate_and_no_more() {
        let mut bucket = full(5);
        let mut begun = 0;
        for now in (0..10 * SECOND).step_by(1000) {
            bucket = bucket.filled(now);
            begun += bucket.available();
            bucket.tokens -= f64::from(bucket.available());
        }
        assert!((54..=55).contains(&begun), "{begun}: 5 at once, then 5 a second");
    }

    #[test]
    fn it_says_when_the_next_comes() {
        let empty = Bucket { tokens: 0.0, ..full(5) };
        assert_eq!(empty.next(), SECOND / 5);
        assert_eq!(empty.filled(SECOND / 5).available(), 1);
        assert_eq!(empty.filled(SECOND / 5 - 10).available(), 0);
        assert_eq!(full(5).next(), 0);
    }

    #[test]
    fn it_does_not_overflow_and_a_clock_set_back_takes_nothing() {
        assert_eq!(full(5).filled(3600 * SECOND).available(), 5);
        assert_eq!(full(5).filled(-SECOND).available(), 5);
    }
}
