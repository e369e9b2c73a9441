//! Five fields as sets, and the search for the next time that is in them.

use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, ToSpan};

use super::Zone;

/// How far ahead a time is looked for. The rarest there is, a 29th of February on a given day of the week, can be 40
/// years away.
const HORIZON_YEARS: i16 = 50;

/// Sets of minutes, hours, days, months and days of the week, a bit a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    pub(super) minutes: u64,
    pub(super) hours: u32,
    /// Bit 1 is the first of the month.
    pub(super) days: u32,
    pub(super) last_day: bool,
    pub(super) months: u16,
    /// Bits 0 and 7 are Sunday.
    pub(super) weekdays: u8,
    /// The field for the minute begins with `*`.
    pub(super) any_minute: bool,
    pub(super) any_hour: bool,
    /// With `*` in one of them both the day of the month and that of the week must fit, else one is enough.
    pub(super) any_day: bool,
    pub(super) any_weekday: bool,
}

const ALL_HOURS: u32 = (1 << 24) - 1;
const MONTHS_LENGTH: [u32; 13] = [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl Cron {
    /// Is there any time at which it fires?
    pub fn can_fire(&self) -> bool {
        let either = !self.any_day && !self.any_weekday;
        let day_of_month = (1..=12).any(|month: usize| {
            self.months & (1 << month) != 0
                && (self.last_day || (1..=MONTHS_LENGTH[month]).any(|day| self.days & (1 << day) != 0))
        });
        let day_of_week = self.weekdays != 0;
        let day = if either {
            day_of_month || day_of_week
        } else {
            day_of_month && day_of_week
        };
        self.minutes != 0 && self.hours & ALL_HOURS != 0 && self.months & 0x1ffe != 0 && day
    }

    /// See [`super::Schedule::next`].
    pub(super) fn next(&self, after: i64, zone: &Zone) -> Option<i64> {
        if !self.can_fire() {
            return None;
        }
        let mut at = Timestamp::from_microsecond(after.checked_add(1)?).ok()?;
        let start = zone.offset(at).to_datetime(at);
        let horizon = start.checked_add(HORIZON_YEARS.years()).unwrap_or(DateTime::MAX);
        // Between two changes of the zone's offset local and real time go side by side.
        let mut change = zone.change_before(at);
        loop {
            let offset = zone.offset(at);
            let mut from = offset.to_datetime(at);
            if let Some(change) = change {
                let (was, is) = (
                    zone.offset_before(change).to_datetime(change),
                    offset.to_datetime(change),
                );
                let skipped = was < is && at == change && self.hours != ALL_HOURS;
                if skipped && self.first(was, is).is_some() {
                    return Some(change.as_microsecond());
                }
                if was > is && self.hours != ALL_HOURS && !self.any_minute {
                    from = from.max(was);
                }
            }
            let until = zone.change_after(at);
            let end = until.map_or(horizon, |t| offset.to_datetime(t).min(horizon));
            if let Some(found) = self.first(from, end) {
                return Some(offset.to_timestamp(found).ok()?.as_microsecond());
            }
            at = until.filter(|_| end < horizon)?;
            change = until;
        }
    }

    /// The first local time in the sets that is at or behind `from` and before `end`.
    fn first(&self, from: DateTime, end: DateTime) -> Option<DateTime> {
        let mut date = from.date();
        // A minute that has begun is over.
        let begun = from.second() != 0 || from.subsec_nanosecond() != 0;
        let mut minute = u32::from(from.hour() as u8) * 60 + u32::from(from.minute() as u8) + u32::from(begun);
        while date <= end.date() {
            if self.months & (1 << date.month()) == 0 {
                date = date.last_of_month().tomorrow().ok()?;
                minute = 0;
                continue;
            }
            if self.has_day(date)
                && let Some((hour, minute)) = self.time_from(minute)
            {
                let found = date.to_datetime(Time::constant(hour as i8, minute as i8, 0, 0));
                return (found < end).then_some(found);
            }
            date = date.tomorrow().ok()?;
            minute = 0;
        }
        None
    }

    fn has_day(&self, date: Date) -> bool {
        let of_month = self.days & (1 << date.day()) != 0 || (self.last_day && date.day() == date.days_in_month());
        let of_week = self.weekdays & (1 << date.weekday().to_sunday_zero_offset()) != 0;
        if self.any_day || self.any_weekday {
            of_month && of_week
        } else {
            of_month || of_week
        }
    }

    /// Hour and minute of the first time of day at or behind a minute of the day.
    fn time_from(&self, minute: u32) -> Option<(u32, u32)> {
        let (hour, minute) = (minute / 60, minute % 60);
        let hours = self.hours & ALL_HOURS;
        let rest = self.minutes >> minute;
        if hour < 24 && hours & (1 << hour) != 0 && rest != 0 {
            return Some((hour, minute + rest.trailing_zeros()));
        }
        let later = hours & u32::MAX.checked_shl(hour + 1).unwrap_or(0);
        (later != 0).then(|| (later.trailing_zeros(), self.minutes.trailing_zeros()))
    }
}
