//! Looks that cost the more, the longer an old snapshot keeps deleted rows in front of what is looked for.

/// Limits how much of the time such looks use. A cheap one is always due.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sparing {
    next: i64,
}

impl Sparing {
    /// Of so many parts of the time one goes to these looks.
    const SHARE: i64 = 20;

    /// Microseconds below which a look need not be spared.
    const CHEAP: i64 = 500;

    /// True if a look may be taken now. Times are in microseconds of a clock that nobody sets.
    pub fn is_due(&self, now: i64) -> bool {
        now >= self.next
    }

    /// When the next look may be taken.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// A look has been taken.
    pub fn observe(&mut self, begun: i64, ended: i64) {
        let took = ended - begun;
        self.next = if took < Self::CHEAP {
            i64::MIN
        } else {
            ended + Self::SHARE * took
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cheap_looks_are_always_due_and_dear_ones_use_a_twentieth_of_the_time() {
        let mut sparing = Sparing::default();
        assert!(sparing.is_due(0));
        sparing.observe(0, 499);
        assert!(sparing.is_due(499));
        sparing.observe(10_000, 20_000);
        assert!(!sparing.is_due(219_999));
        assert!(sparing.is_due(220_000));
        assert_eq!(sparing.next(), 220_000);
    }
}
