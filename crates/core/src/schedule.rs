//! When a schedule fires: cron expressions, intervals, and single times, in a time zone.
//!
//! Times are microseconds since 1970. Nothing here asks for the time.

mod cron;
mod grammar;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp, civil};

pub use cron::Cron;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    Cron(Cron),
    /// At `anchor`, and then again and again behind an interval: made by [`Schedule::every`].
    Every {
        months: i32,
        days: i32,
        micros: i64,
        anchor: i64,
    },
    Once(i64),
    /// At the start of the server, which is no time that can be known beforehand.
    Reboot,
}

/// A schedule, and what its author would want to hear about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    pub schedule: Schedule,
    pub remarks: Vec<Remark>,
}

/// Something that is accepted, since cron accepts it, and does not mean what it seems to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    NeverFires,
    /// Characters that were skipped, and where.
    Ignored(String, &'static str),
    /// Text behind what is a whole schedule.
    Behind(String),
    Backwards(String),
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverFires => write!(f, "this schedule never fires"),
            Self::Ignored(text, field) => write!(f, "\"{text}\" in the field for the {field} is ignored"),
            Self::Behind(text) => write!(f, "\"{text}\" behind the schedule is ignored"),
            Self::Backwards(range) => write!(f, "the range \"{range}\" runs backwards"),
        }
    }
}

/// Why a text is no schedule. Written to follow `invalid schedule: `, or to stand alone as a DETAIL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("The field for the {0} is missing.")]
    Missing(&'static str),
    #[error("The field for the {field} cannot be read: \"{text}\".")]
    Unreadable { field: &'static str, text: String },
    #[error("The {field} {text} is not between {low} and {high}.")]
    OutOfRange {
        field: &'static str,
        text: String,
        low: u32,
        high: u32,
    },
    #[error("The step {text} for the {field} is not between 1 and {high}.")]
    Step {
        field: &'static str,
        text: String,
        high: u32,
    },
    #[error("A step needs a range, as in \"{text}-{high}/...\" or \"*/...\".")]
    StepWithoutRange { text: String, high: u32 },
    #[error("\"$\" stands for the last day of the month, and stands alone.")]
    LastDay,
    #[error("\"@{0}\" is not known.")]
    Shorthand(String),
    #[error("The number of seconds is not between 1 and 59.")]
    Seconds,
    #[error("The interval is not positive.")]
    Interval,
}

/// Reads a schedule as pg_cron does: five fields, `@daily` and the like, or `N seconds`.
///
/// What pg_cron accepts is accepted and means the same, with three exceptions: `@yearly` and `@annually` fire; a number with
/// more digits than any field can take is out of range, where pg_cron takes it modulo 2^32; and a comment without an end
/// is no schedule, where pg_cron does not return.
///
/// # Errors
/// What pg_cron rejects, with the field that is wrong.
pub fn parse(text: &str) -> Result<Parsed, Error> {
    let mut parsed = match grammar::seconds(text)? {
        Some(n) => Parsed {
            schedule: Schedule::Every {
                months: 0,
                days: 0,
                micros: i64::from(n) * 1_000_000,
                anchor: 0,
            },
            remarks: Vec::new(),
        },
        None => grammar::cron(text)?,
    };
    if matches!(&parsed.schedule, Schedule::Cron(cron) if !cron.can_fire()) {
        parsed.remarks.push(Remark::NeverFires);
    }
    Ok(parsed)
}

impl Schedule {
    /// At `anchor`, and again behind each interval.
    ///
    /// # Errors
    /// An interval with a negative part, or none that is positive.
    pub fn every(months: i32, days: i32, micros: i64, anchor: i64) -> Result<Self, Error> {
        if months < 0 || days < 0 || micros < 0 || (months == 0 && days == 0 && micros == 0) {
            return Err(Error::Interval);
        }
        Ok(Self::Every {
            months,
            days,
            micros,
            anchor,
        })
    }

    /// The first time strictly after `after` at which it fires; None: never.
    ///
    /// **Cron and daylight saving.** A cron expression is about what the clock on the wall shows.
    ///
    /// - One that is for every hour (`*/15 * * * *`, `7 * * * *`) follows real time and does not notice that the clock is
    ///   set: each minute that there is counts, one that is there twice counts twice.
    /// - Else times of day that are skipped when the clock is set forward fire once, all of them together, at the moment
    ///   when it is set. `30 2 * * *` fires at 3:00 on such a day.
    /// - A time of day that is there twice when the clock is set back fires the first time. Expressions with `*` for the
    ///   minute (`* 1-5 * * *`, `*/10 1-5 * * *`) fire both times: they would rest for an hour otherwise.
    ///
    /// All of that holds for any change of a zone's offset, however long: Samoa's missing 30th of December too.
    ///
    /// **Intervals** of months or days are counted on the calendar from the anchor: the third month behind the 31st of
    /// January is the 30th of April, and the time of day stays the same when the clock is set. Where that time is skipped, it is
    /// as much later as the clock is set forward; where it is there twice, the first counts. Micros are real time.
    pub fn next(&self, after: i64, zone: &Zone) -> Option<i64> {
        match *self {
            Self::Cron(ref cron) => cron.next(after, zone),
            Self::Every {
                months: 0,
                days: 0,
                micros: micros @ 1..,
                anchor,
            } => {
                let behind = after.checked_sub(anchor)?;
                let periods = if behind < 0 { 0 } else { behind / micros + 1 };
                anchor.checked_add(periods.checked_mul(micros)?)
            }
            Self::Every {
                months,
                days,
                micros,
                anchor,
            } => zone.next_on_calendar(after, anchor, (months, days, micros)),
            Self::Once(time) => (time > after).then_some(time),
            Self::Reboot => None,
        }
    }
}

/// A time zone of the IANA database: the system's, as Postgres uses it, or the one that is compiled in if there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("time zone \"{0}\" is not known")]
pub struct UnknownZone(pub String);

impl Zone {
    pub const UTC: Self = Self(TimeZone::UTC);

    /// # Errors
    /// A name that is not in the database. Fixed offsets and POSIX rules are not: use `Etc/GMT-2` and the like.
    pub fn parse(name: &str) -> Result<Self, UnknownZone> {
        match TimeZone::get(name) {
            Ok(zone) if !zone.is_unknown() => Ok(Self(zone)),
            _ => Err(UnknownZone(name.to_owned())),
        }
    }

    /// The name as the database spells it.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    fn offset(&self, at: Timestamp) -> Offset {
        self.0.to_offset(at)
    }

    /// Offset just before a change.
    fn offset_before(&self, change: Timestamp) -> Offset {
        Timestamp::from_microsecond(change.as_microsecond() - 1).map_or(self.offset(change), |t| self.offset(t))
    }

    /// The last change of the zone's rules at or before a time.
    fn change_before(&self, at: Timestamp) -> Option<Timestamp> {
        let just_after = Timestamp::from_microsecond(at.as_microsecond() + 1).ok()?;
        self.0.preceding(just_after).next().map(|t| t.timestamp())
    }

    /// The first change of the zone's rules after a time.
    fn change_after(&self, at: Timestamp) -> Option<Timestamp> {
        self.0.following(at).next().map(|t| t.timestamp())
    }

    /// The first of anchor, anchor + 1 interval, anchor + 2 intervals ... that is after `after`.
    fn next_on_calendar(&self, after: i64, anchor: i64, (months, days, micros): (i32, i32, i64)) -> Option<i64> {
        let start = self.0.to_datetime(Timestamp::from_microsecond(anchor).ok()?);
        let nth = |n: i64| -> Option<i64> {
            let span = Span::new()
                .try_months(n.checked_mul(months.into())?)
                .and_then(|s| s.try_days(n.saturating_mul(days.into())))
                .ok()?;
            let local: civil::DateTime = start.checked_add(span).ok()?;
            let time = self.0.to_timestamp(local).ok()?.as_microsecond();
            time.checked_add(n.checked_mul(micros)?)
        };
        if nth(0)? > after {
            return nth(0);
        }
        // Behind the last one that can be computed there is none; the sequence grows, so halving finds the first.
        let (mut low, mut high) = (0_i64, 1_i64);
        while nth(high).is_some_and(|t| t <= after) {
            (low, high) = (high, high * 2);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if nth(middle).is_some_and(|t| t <= after) {
                low = middle;
            } else {
                high = middle;
            }
        }
        nth(high)
    }
}
