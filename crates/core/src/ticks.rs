//! Which of a schedule's times ("ticks") are acted on when some have come that nobody has looked at. Times are microseconds;
//! what the times are is the caller's to say: `next` gives the first one after another.

/// What becomes of ticks that were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// Nothing: a tick is acted on within [`GRACE`], or not at all.
    None,
    /// The last of them is acted on.
    Last,
    /// Each is acted on.
    All,
}

impl CatchUp {
    /// From a word of the user's.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "last" => Some(Self::Last),
            "all" => Some(Self::All),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Last => "last",
            Self::All => "all",
        }
    }
}

/// How late a tick may be that is not caught up: what a busy server takes, or a restart.
pub const GRACE: i64 = 10_000_000;

/// What to do about ticks that have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// The next one to act on; it may be yet to come. `None`: none ever comes.
    pub tick: Option<i64>,
    /// Ticks before it that are passed over.
    pub missed: u64,
}

/// How late missed ticks may be, and how many are looked at one by one.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub catch_up: CatchUp,
    /// Older ones are not caught up. `None`: however old.
    pub window: Option<i64>,
    /// Ticks that are counted before the rest is passed over in leaps.
    pub counted: u64,
}

/// Chooses among the ticks from `first` on that are not after `now`.
///
/// # Errors
/// Those of `next`.
pub fn choose<E>(
    first: i64,
    now: i64,
    rule: Rule,
    mut next: impl FnMut(i64) -> Result<Option<i64>, E>,
) -> Result<Backlog, E> {
    if first > now {
        let tick = Some(first);
        return Ok(Backlog { tick, missed: 0 });
    }
    let window = match rule.catch_up {
        CatchUp::None => Some(GRACE),
        CatchUp::Last | CatchUp::All => rule.window,
    };
    let oldest = window.map(|window| now.saturating_sub(window));
    let until = if rule.catch_up == CatchUp::All {
        // Those that are too old, if any.
        match oldest {
            Some(oldest) if first < oldest => oldest - 1,
            _ => {
                let tick = Some(first);
                return Ok(Backlog { tick, missed: 0 });
            }
        }
    } else {
        now
    };
    let (last, before) = pass(first, until, rule.counted, &mut next)?;
    if rule.catch_up != CatchUp::All && oldest.is_none_or(|oldest| last >= oldest) {
        let tick = Some(last);
        return Ok(Backlog { tick, missed: before });
    }
    Ok(Backlog {
        tick: next(last)?,
        missed: before + 1,
    })
}

/// The last tick that is not after `until`, from `first` on, and the number of those before it; where there are more than
/// `counted`, a number that is too small.
fn pass<E>(
    first: i64,
    until: i64,
    counted: u64,
    next: &mut impl FnMut(i64) -> Result<Option<i64>, E>,
) -> Result<(i64, u64), E> {
    let (mut last, mut before) = (first, 0);
    while before < counted {
        match next(last)? {
            Some(tick) if tick <= until => last = tick,
            _ => return Ok((last, before)),
        }
        before += 1;
    }
    // No tick is behind `end` and not after `until`.
    let mut end = until;
    while last < end {
        let middle = last + (end - last) / 2;
        match next(middle)? {
            Some(tick) if tick <= until => {
                last = tick;
                before += 1;
            }
            _ => end = middle,
        }
    }
    Ok((last, before))
}

/// By how much a tick is put off, from 0 to below `limit`: spread over the ticks of a schedule and over schedules, and always
/// the same for one tick.
pub fn jitter(schedule: &[u8], tick: i64, limit: i64) -> i64 {
    if limit <= 0 {
        return 0;
    }
    // FNV-1a, and a last mix (of splitmix64): its low bits alone would follow those of the tick.
    let bytes = schedule.iter().copied().chain(tick.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % limit.unsigned_abs()).cast_signed()
}

/// A tick, in microseconds since 1970, as part of an id: `2026-11-26T03:00:00Z`.
pub fn stamp(tick: i64) -> String {
    jiff::Timestamp::from_microsecond(tick).map_or_else(|_| tick.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    /// Every ten seconds, from 0 to `end`.
    fn tens(end: i64) -> impl FnMut(i64) -> Result<Option<i64>, ()> {
        move |after| {
            let tick = (after.div_euclid(10 * SECOND) + 1) * 10 * SECOND;
            Ok(Some(tick).filter(|tick| *tick <= end))
        }
    }

    fn chosen(catch_up: CatchUp, window: Option<i64>, first: i64, now: i64) -> (Option<i64>, u64) {
        let rule = Rule {
            catch_up,
            window: window.map(|window| window * SECOND),
            counted: 100,
        };
        let backlog = choose(first * SECOND, now * SECOND, rule, tens(i64::MAX)).unwrap();
        (backlog.tick.map(|tick| tick / SECOND), backlog.missed)
    }

    #[test]
    fn a_tick_on_time_is_taken_whatever_the_rule() {
        for catch_up in [CatchUp::None, CatchUp::Last, CatchUp::All] {
            assert_eq!(chosen(catch_up, None, 100, 100), (Some(100), 0));
            assert_eq!(chosen(catch_up, Some(60), 100, 109), (Some(100), 0));
            assert_eq!(chosen(catch_up, None, 100, 99), (Some(100), 0), "yet to come");
        }
    }

    #[test]
    fn missed_ticks_go_by_the_rule() {
        assert_eq!(chosen(CatchUp::Last, None, 100, 145), (Some(140), 4));
        assert_eq!(chosen(CatchUp::None, None, 100, 145), (Some(140), 4), "5 s late");
        assert_eq!(chosen(CatchUp::All, None, 100, 145), (Some(100), 0));
        assert_eq!(chosen(CatchUp::All, Some(60), 100, 145), (Some(100), 0));
        assert_eq!(chosen(CatchUp::All, Some(20), 100, 145), (Some(130), 3));
        assert_eq!(chosen(CatchUp::Last, Some(4), 100, 145), (Some(150), 5));
        assert_eq!(chosen(CatchUp::All, Some(4), 100, 145), (Some(150), 5));
    }

    #[test]
    fn what_is_not_caught_up_may_be_a_little_late() {
        // Hourly, and found 11 s late.
        let hourly = |after: i64| Ok::<_, ()>(Some((after / 3600 / SECOND + 1) * 3600 * SECOND));
        let rule = |catch_up| Rule {
            catch_up,
            window: None,
            counted: 100,
        };
        let at = 7200 * SECOND;
        let late = choose(at, at + GRACE + SECOND, rule(CatchUp::None), hourly).unwrap();
        assert_eq!(late.tick, Some(10_800 * SECOND));
        assert_eq!(late.missed, 1);
        let within = choose(at, at + GRACE, rule(CatchUp::None), hourly).unwrap();
        assert_eq!(within.tick, Some(at));
        let caught = choose(at, at + GRACE + SECOND, rule(CatchUp::Last), hourly).unwrap();
        assert_eq!(caught.tick, Some(at));
    }

    #[test]
    fn a_long_gap_is_leapt_over() {
        let mut calls = 0;
        let mut every = tens(i64::MAX);
        let rule = Rule {
            catch_up: CatchUp::Last,
            window: None,
            counted: 100,
        };
        let year = 365 * 86_400 * SECOND;
        let backlog = choose(0, year + 5 * SECOND, rule, |after| {
            calls += 1;
            every(after)
        })
        .unwrap();
        assert_eq!(backlog.tick, Some(year));
        assert!(backlog.missed >= 100 && calls < 200, "{calls}");
    }

    #[test]
    fn the_last_tick_ends_it() {
        let rule = |catch_up, window| Rule {
            catch_up,
            window,
            counted: 2,
        };
        let last = choose(0, 1000 * SECOND, rule(CatchUp::Last, None), tens(50 * SECOND)).unwrap();
        assert_eq!(last.tick, Some(50 * SECOND));
        let old = choose(0, 1000 * SECOND, rule(CatchUp::All, Some(SECOND)), tens(50 * SECOND)).unwrap();
        assert_eq!(old.tick, None);
    }

    #[test]
    fn an_error_of_the_times_comes_through() {
        let rule = Rule {
            catch_up: CatchUp::Last,
            window: None,
            counted: 1,
        };
        assert_eq!(choose(0, 10, rule, |_| Err("broken")), Err("broken"));
    }

    #[test]
    fn stamps_are_utc_and_no_longer_than_they_need_to_be() {
        assert_eq!(stamp(1_795_662_000 * SECOND), "2026-11-26T03:00:00Z");
        assert_eq!(stamp(1_795_662_000 * SECOND + 500_000), "2026-11-26T03:00:00.5Z");
    }

    #[test]
    fn jitter_is_fixed_within_its_limit_and_spread() {
        assert_eq!(jitter(b"a", 7, 0), 0);
        let all: Vec<i64> = (0..1000).map(|tick| jitter(b"a", tick * 60 * SECOND, 1000)).collect();
        assert!(all.iter().all(|jitter| (0..1000).contains(jitter)));
        for tenth in 0..10 {
            let within = all.iter().filter(|jitter| **jitter / 100 == tenth).count();
            assert!((50..200).contains(&within), "{within} in tenth {tenth}");
        }
        assert_eq!(jitter(b"a", 60, 1000), jitter(b"a", 60, 1000));
        assert_ne!(jitter(b"a", 60, 1 << 40), jitter(b"b", 60, 1 << 40));
    }
}
