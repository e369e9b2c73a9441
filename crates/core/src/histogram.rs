//! Times in buckets that double: 128 µs, 256 µs ... 25 days, and what is longer.

pub const BUCKETS: usize = 36;

/// The first bucket's bound is two to this, in microseconds.
const SMALLEST: u32 = 7;

/// The bucket of a time in microseconds.
pub fn bucket(micros: i64) -> usize {
    let bits = i64::BITS - (micros.max(1) - 1).leading_zeros();
    (bits.saturating_sub(SMALLEST) as usize).min(BUCKETS - 1)
}

/// The longest time in a bucket, in microseconds; the last one has none.
pub fn bound(bucket: usize) -> Option<i64> {
    (bucket < BUCKETS - 1).then(|| 1 << (SMALLEST as usize + bucket))
}

/// The time that a share `q` of those counted did not exceed, in microseconds, as if they were spread evenly in each bucket.
/// `None` if there are none.
pub fn quantile(counts: &[u64; BUCKETS], q: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = q * total as f64;
    let mut below = 0_u64;
    for (index, count) in counts.iter().enumerate() {
        if *count > 0 && (below + count) as f64 >= rank {
            let low = index.checked_sub(1).and_then(bound).unwrap_or(0) as f64;
            let high = bound(index).map_or(low, |bound| bound as f64);
            let share = ((rank - below as f64) / *count as f64).clamp(0.0, 1.0);
            return Some(low + share * (high - low));
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_within_the_bounds_of_its_bucket() {
        for micros in [
            -5,
            0,
            1,
            127,
            128,
            129,
            256,
            257,
            1_000,
            999_999,
            86_400_000_000,
            i64::MAX,
        ] {
            let at = bucket(micros);
            assert!(bound(at).is_none_or(|high| micros <= high), "{micros}");
            let low = at.checked_sub(1).and_then(bound);
            assert!(low.is_none_or(|low| micros > low), "{micros}");
        }
        assert_eq!((bucket(128), bucket(129), bucket(i64::MAX)), (0, 1, BUCKETS - 1));
        assert_eq!(bound(BUCKETS - 2), Some(1 << 41));
    }

    #[test]
    fn quantiles_are_within_a_factor_of_two() {
        assert_eq!(quantile(&[0; BUCKETS], 0.5), None);
        let mut counts = [0; BUCKETS];
        for millis in 1..=1000 {
            counts[bucket(millis * 1000)] += 1;
        }
        for (q, truth) in [
            (0.5, 500_000.0),
            (0.95, 950_000.0),
            (0.99, 990_000.0),
            (1.0, 1_000_000.0),
        ] {
            let found = quantile(&counts, q).unwrap();
            assert!(found > truth / 2.0 && found < truth * 2.0, "{q}: {found}");
        }
        assert!(quantile(&counts, 0.5) < quantile(&counts, 0.95));
        // Of what is longer than the last bound nothing but that is known.
        let mut counts = [0; BUCKETS];
        counts[BUCKETS - 1] = 3;
        assert_eq!(quantile(&counts, 0.99), Some((1_i64 << 41) as f64));
    }
}
