use std::collections::HashSet;

use jiff::ToSpan;
use jiff::civil::DateTime;

use super::*;

const SPRING: &str = "2026-03-08T06:00:00Z"; // 1:00 in New York; at 2:00 the clock is set to 3:00
const AUTUMN: &str = "2026-11-01T04:30:00Z"; // 0:30; at 2:00 the clock is set back to 1:00

#[test]
fn a_time_that_is_skipped_fires_when_the_clock_is_set() {
    let new_york = |text, n| fires(text, "America/New_York", SPRING, n);
    assert_eq!(new_york("30 2 * * *", 2), ["03-08 03:00 -04", "03-09 02:30 -04"]);
    assert_eq!(new_york("0,20,40 2 * * *", 2), ["03-08 03:00 -04", "03-09 02:00 -04"]);
    assert_eq!(new_york("30 2,3 * * *", 2), ["03-08 03:00 -04", "03-08 03:30 -04"]);
    assert_eq!(new_york("0 2,3 * * *", 2), ["03-08 03:00 -04", "03-09 02:00 -04"]);
    assert_eq!(new_york("0 */2 * * *", 2), ["03-08 03:00 -04", "03-08 04:00 -04"]);
    assert_eq!(new_york("*/30 2 * * *", 2), ["03-08 03:00 -04", "03-09 02:00 -04"]);
}

#[test]
fn a_time_that_is_there_twice_fires_the_first_time() {
    let new_york = |text, n| fires(text, "America/New_York", AUTUMN, n);
    assert_eq!(new_york("30 1 * * *", 2), ["11-01 01:30 -04", "11-02 01:30 -05"]);
    assert_eq!(
        new_york("0 1-3 * * *", 3),
        ["11-01 01:00 -04", "11-01 02:00 -05", "11-01 03:00 -05"]
    );
}

#[test]
fn every_hour_and_every_minute_follow_real_time() {
    assert_eq!(
        fires("*/30 * * * *", "America/New_York", SPRING, 3),
        ["03-08 01:30 -05", "03-08 03:00 -04", "03-08 03:30 -04"]
    );
    assert_eq!(
        fires("7 * * * *", "America/New_York", "2026-11-01T05:00:00Z", 3),
        ["11-01 01:07 -04", "11-01 01:07 -05", "11-01 02:07 -05"]
    );
    assert_eq!(
        fires("*/30 1 * * *", "America/New_York", AUTUMN, 5),
        [
            "11-01 01:00 -04",
            "11-01 01:30 -04",
            "11-01 01:00 -05",
            "11-01 01:30 -05",
            "11-02 01:00 -05"
        ]
    );
}

#[test]
fn zones_with_other_habits() {
    // Lord Howe sets the clock by half an hour; Samoa skipped a day; Brazil skipped midnight.
    assert_eq!(
        fires("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T14:00:00Z", 2),
        ["10-04 02:30 +11", "10-05 02:15 +11"]
    );
    assert_eq!(
        fires("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 3),
        ["12-29 12:00 -10", "12-31 00:00 +14", "12-31 12:00 +14"]
    );
    assert_eq!(
        fires("@daily", "America/Sao_Paulo", "2018-11-03T12:00:00Z", 2),
        ["11-04 01:00 -02", "11-05 00:00 -02"]
    );
    assert_eq!(
        fires("0 9 * * *", "Asia/Kathmandu", "2026-01-01T00:00:00Z", 1),
        ["01-01 09:00 +05:45"]
    );
}

struct Minute {
    time: i64,
    local: DateTime,
    /// The clock has shown it before.
    again: bool,
    /// What the clock has skipped just before.
    skipped: Vec<DateTime>,
}

fn each_minute(zone: &Zone, from: i64, to: i64) -> Vec<Minute> {
    let (mut seen, mut expected) = (HashSet::new(), None);
    let look = |time| {
        let local = zone.0.to_datetime(Timestamp::from_microsecond(time).unwrap());
        let mut skipped = Vec::new();
        let mut clock = expected.unwrap_or(local);
        while clock < local {
            skipped.push(clock);
            clock = clock.checked_add(1.minute()).unwrap();
        }
        expected = Some(clock.max(local.checked_add(1.minute()).unwrap()));
        let again = !seen.insert(local);
        Minute {
            time,
            local,
            again,
            skipped,
        }
    };
    (from..=to).step_by(MINUTE as usize).map(look).collect()
}

/// All that fires in these minutes, found by looking at each of them, without a thought for the search.
fn by_looking(cron: &Cron, minutes: &[Minute]) -> Vec<i64> {
    let fits = |local: DateTime| {
        let of_month =
            cron.days & (1 << local.day()) != 0 || (cron.last_day && local.date() == local.date().last_of_month());
        let of_week = cron.weekdays & (1 << local.weekday().to_sunday_zero_offset()) != 0;
        let starred = cron.any_day || cron.any_weekday;
        cron.minutes & (1 << local.minute()) != 0
            && cron.hours & (1 << local.hour()) != 0
            && cron.months & (1 << local.month()) != 0
            && if starred {
                of_month && of_week
            } else {
                of_month || of_week
            }
    };
    let every_hour = cron.hours.count_ones() == 24;
    let fires = |minute: &&Minute| {
        (fits(minute.local) && (!minute.again || every_hour || cron.any_minute))
            || (!every_hour && minute.skipped.iter().any(|&local| fits(local)))
    };
    minutes.iter().filter(fires).map(|minute| minute.time).collect()
}

const ZONES: [(&str, &str); 9] = [
    ("America/New_York", "2020-01-01T00:00:00Z"),
    ("Europe/London", "2020-01-01T00:00:00Z"),
    ("Europe/Berlin", "2020-01-01T00:00:00Z"),
    ("Australia/Lord_Howe", "2020-01-01T00:00:00Z"),
    ("America/Sao_Paulo", "2010-01-01T00:00:00Z"),
    ("Pacific/Apia", "2008-01-01T00:00:00Z"),
    ("Asia/Kathmandu", "1980-01-01T00:00:00Z"),
    ("Africa/Casablanca", "2018-01-01T00:00:00Z"),
    ("UTC", "2020-01-01T00:00:00Z"),
];

#[test]
fn around_every_change_of_ten_years_the_search_finds_what_looking_finds() {
    let texts = [
        "* * * * *",
        "*/15 * * * *",
        "7 * * * *",
        "30 2 * * *",
        "30 1 * * *",
        "15 2 * * *",
        "*/20 2 * * *",
        "*/10 1-5 * * *",
        "0 */2 * * *",
        "0 0 * * *",
        "30 0,23 * * *",
        "0,30 0-3 * * 0",
        "59 23 $ * *",
        "0 0 1 * 7",
        "0 12 30 12 *",
        "* 0 * * *",
    ];
    let mut changes = 0;
    for (name, begin) in ZONES {
        let (zone, begin) = (zone(name), at(begin));
        let mut instants: Vec<i64> = zone
            .0
            .following(Timestamp::from_microsecond(begin).unwrap())
            .map(|t| t.timestamp().as_microsecond())
            .take_while(|&t| t < begin + 3653 * DAY)
            .collect();
        changes += instants.len();
        instants.push(begin + 100 * DAY);
        for change in instants {
            let (from, to) = (change - 26 * HOUR, change + 50 * HOUR);
            let minutes = each_minute(&zone, from, to);
            for text in texts {
                let Schedule::Cron(cron) = schedule(text) else {
                    panic!("{text}")
                };
                let expected = by_looking(&cron, &minutes);
                let (mut found, mut time) = (Vec::new(), from - 1);
                while let Some(next) = cron.next(time, &zone).filter(|&t| t <= to) {
                    found.push(next);
                    time = next;
                }
                assert_eq!(found, expected, "{text} in {name} around {change}");
            }
        }
    }
    assert!(changes > 120, "{changes}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_next_is_after_and_nothing_lies_between(
        minutes in 0_u64..1 << 60, sparse in 0_u32..60, hours in 0_u32..1 << 24, days in 0_u32..u32::MAX, weekdays in 0_u8..128,
        flags in 0_u8..32, zone_at in 0_usize..9, offset in 0_i64..3650 * 1440,
    ) {
        let flag = |n: u8| flags & (1 << n) != 0;
        let cron = Cron {
            minutes: if flag(0) { minutes } else { 1 << sparse },
            hours, days: days & !1, last_day: flag(1), months: 0x1ffe,
            weekdays: if weekdays & 1 != 0 { weekdays | 0x80 } else { weekdays },
            any_minute: flag(2), any_hour: false, any_day: flag(3), any_weekday: flag(4),
        };
        let (zone, after) = (zone(ZONES[zone_at].0), at(ZONES[zone_at].1) + offset * MINUTE);
        // What was there twice is known by what has been seen before.
        let known = after - 26 * HOUR;
        let to = after + 3 * DAY;
        let expected = by_looking(&cron, &each_minute(&zone, known, to)).into_iter().find(|&t| t > after);
        let found = cron.next(after, &zone);
        prop_assert!(found.is_none_or(|t| t > after));
        prop_assert_eq!(found.filter(|&t| t <= to), expected);
    }
}
