use std::collections::HashSet;

use jiff::civil::DateTime;
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn schedule(text: &str) -> Schedule {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).schedule
}

fn zone(name: &str) -> Zone {
    Zone::parse(name).unwrap()
}

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_microsecond()
}

/// The first `n` times after `after`, on the clock of the zone.
fn fires(text: &str, zone_name: &str, after: &str, n: usize) -> Vec<String> {
    let (schedule, zone, mut time) = (schedule(text), zone(zone_name), at(after));
    let mut next = || {
        time = schedule.next(time, &zone)?;
        let instant = Timestamp::from_microsecond(time).unwrap();
        Some(
            instant
                .to_zoned_datetime(zone.0.clone())
                .strftime("%m-%d %H:%M %:::z")
                .to_string(),
        )
    };
    (0..n).map_while(|_| next()).collect()
}

mod grammar {
    use super::*;

    fn set(bits: u64, low: u32, high: u32) -> String {
        let values: Vec<_> = (low..=high)
            .filter(|n| bits & (1 << n) != 0)
            .map(|n| n.to_string())
            .collect();
        match values.len() as u32 {
            0 => "-".to_owned(),
            n if n == high - low + 1 => "all".to_owned(),
            _ => values.join(","),
        }
    }

    /// The sets and flags as the table writes them.
    fn described(schedule: &Schedule) -> String {
        match schedule {
            Schedule::Every { micros, .. } => format!("every {} s", micros / 1_000_000),
            Schedule::Reboot => "@reboot flags:".to_owned(),
            Schedule::Once(_) => panic!("no text means a single time"),
            Schedule::Cron(c) => {
                let flags = [
                    (c.any_day, " DOM*"),
                    (c.any_weekday, " DOW*"),
                    (c.any_minute, " MIN*"),
                    (c.any_hour, " HR*"),
                ];
                format!(
                    "min={} hour={} dom={}{} mon={} dow={} flags:{}",
                    set(c.minutes, 0, 59),
                    set(c.hours.into(), 0, 23),
                    set(c.days.into(), 1, 31),
                    if c.last_day { "+LAST" } else { "" },
                    set(c.months.into(), 1, 12),
                    set(c.weekdays.into(), 0, 7),
                    flags
                        .iter()
                        .filter(|(set, _)| *set)
                        .map(|(_, name)| *name)
                        .collect::<String>(),
                )
            }
        }
    }

    #[test]
    fn schedules_are_read_as_pg_cron_reads_them() {
        let mut rows = 0;
        for line in include_str!("../../testdata/pg_cron_schedules.tsv").lines().skip(1) {
            let (text, expected) = line.rsplit_once('\t').unwrap();
            let text = text.replace("\\t", "\t").replace("\\n", "\n");
            let found = match parse(&text) {
                Ok(parsed) => format!("ACCEPT {}", described(&parsed.schedule)),
                Err(_) => "reject".to_owned(),
            };
            // pg_cron sets no flags for the days of @daily and the like, where they make no difference.
            match text.starts_with('@') && expected != "reject" {
                true => assert_eq!(
                    found.split(" flags:").next(),
                    expected.split(" flags:").next(),
                    "{text:?}"
                ),
                false => assert_eq!(found, expected, "{text:?}"),
            }
            rows += 1;
        }
        assert!(rows >= 60, "{rows}");
    }

    #[test]
    fn what_does_not_mean_what_it_seems_to_is_remarked() {
        for (text, remarks) in [
            ("*/5 9-17 * * mon-fri", &[] as &[&str]),
            ("@daily", &[]),
            ("  30 seconds ", &[]),
            ("5.5 * * * *", &["\".5\" in the field for the minute is ignored"]),
            ("* * 1#2 * *", &["\"#2\" in the field for the day of month is ignored"]),
            ("0 */5 * * * *", &["\"*\" behind the schedule is ignored"]),
            ("@hourly extra", &["\"extra\" behind the schedule is ignored"]),
            ("10-5 * * * *", &["the range \"10-5\" runs backwards"]),
            (
                "0 0 * * fri-sun",
                &["the range \"fri-sun\" runs backwards", "this schedule never fires"],
            ),
            ("0 0 30 2 *", &["this schedule never fires"]),
            (
                "10-5/2 * * * *",
                &["the range \"10-5\" runs backwards", "this schedule never fires"],
            ),
        ] {
            let found: Vec<_> = parse(text).unwrap().remarks.iter().map(ToString::to_string).collect();
            assert_eq!(found, remarks, "{text}");
        }
    }

    #[test]
    fn errors_name_the_field_and_what_is_wrong() {
        for (text, error) in [
            ("", "The field for the minute is missing."),
            ("# only a comment", "The field for the minute is missing."),
            ("* * * *", "The field for the day of week is missing."),
            ("* * *\n* *", "The field for the month is missing."),
            ("60 * * * *", "The minute 60 is not between 0 and 59."),
            ("99999999999 * * * *", "The minute 99999999999 is not between 0 and 59."),
            ("0 5-24 * * *", "The hour 24 is not between 0 and 23."),
            ("*/60 * * * *", "The step 60 for the minute is not between 1 and 59."),
            ("*/x * * * *", "The step x for the minute is not between 1 and 59."),
            ("1, 2 * * * *", "The field for the minute cannot be read: \"1,\"."),
            ("0 0 L * *", "The field for the day of month cannot be read: \"L\"."),
            (
                "0 0 1 january *",
                "The field for the month cannot be read: \"january\".",
            ),
            ("5/20 * * * *", "A step needs a range, as in \"5-59/...\" or \"*/...\"."),
            (
                "0 0 $,15 * *",
                "\"$\" stands for the last day of the month, and stands alone.",
            ),
            ("@fortnightly", "\"@fortnightly\" is not known."),
            ("60 seconds", "The number of seconds is not between 1 and 59."),
            ("5 minutes", "The field for the hour cannot be read: \"minutes\"."),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), error, "{text}");
        }
        assert_eq!(Schedule::every(0, 0, 0, 0), Err(Error::Interval));
        assert_eq!(Schedule::every(1, -1, 0, 0), Err(Error::Interval));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-*/,$@#~0-9a-z \t\n\u{e4}]{0,40}") {
            if let Ok(parsed) = parse(&text) {
                let _ = parsed.schedule.next(0, &Zone::UTC);
            }
        }
    }
}

mod days {
    use super::*;

    #[test]
    fn the_shorthands_fire() {
        for (text, expected) in [
            ("@hourly", "06-15 13:00 +00"),
            ("@daily", "06-16 00:00 +00"),
            ("@weekly", "06-21 00:00 +00"),
            ("@monthly", "07-01 00:00 +00"),
            ("@yearly", "01-01 00:00 +00"),
            ("@annually", "01-01 00:00 +00"),
        ] {
            assert_eq!(fires(text, "UTC", "2026-06-15T12:34:56Z", 1), [expected], "{text}");
        }
        assert_eq!(schedule("@reboot").next(0, &Zone::UTC), None);
    }

    #[test]
    fn day_of_month_or_day_of_week_unless_one_begins_with_a_star() {
        // The 13th of February 2026 is a Friday.
        assert_eq!(
            fires("0 0 13 * fri", "UTC", "2026-02-07T00:00:00Z", 3),
            ["02-13 00:00 +00", "02-20 00:00 +00", "02-27 00:00 +00"]
        );
        assert_eq!(
            fires("0 0 13 * */5", "UTC", "2026-02-07T00:00:00Z", 2),
            ["02-13 00:00 +00", "03-13 00:00 +00"]
        );
        assert_eq!(
            fires("0 0 * * 7", "UTC", "2026-02-07T00:00:00Z", 1),
            ["02-08 00:00 +00"]
        );
        assert_eq!(
            fires("0 0 $ * fri", "UTC", "2026-02-20T00:00:00Z", 3),
            ["02-27 00:00 +00", "02-28 00:00 +00", "03-06 00:00 +00"]
        );
    }

    #[test]
    fn the_last_day_is_last_in_leap_years_and_on_days_of_25_hours() {
        assert_eq!(
            fires("0 0 $ 2 *", "UTC", "2027-03-01T00:00:00Z", 1),
            ["02-29 00:00 +00"]
        );
        // The clock was set back on the 31st of October 2021 in London.
        assert_eq!(
            fires("30 23 $ * *", "Europe/London", "2021-10-01T00:00:00Z", 2),
            ["10-31 23:30 +00", "11-30 23:30 +00"]
        );
    }

    #[test]
    fn the_rarest_are_found_and_what_never_comes_is_never() {
        let leap_sunday = schedule("0 0 29 2 */7");
        let mut sundays = vec![at("2026-01-01T00:00:00Z")];
        for _ in 0..4 {
            sundays.extend(leap_sunday.next(sundays[sundays.len() - 1], &Zone::UTC));
        }
        assert_eq!(
            sundays[1..],
            [2032, 2060, 2088, 2128].map(|y| at(&format!("{y}-02-29T00:00:00Z")))
        );
        for text in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 * * fri-sun", "0 0 1 * 6-0/2"] {
            for zone_name in ["UTC", "America/New_York", "Africa/Casablanca"] {
                let next = schedule(text).next(at("2026-01-01T00:00:00Z"), &zone(zone_name));
                assert_eq!(next.is_some(), text.starts_with("0 0 1 "), "{text}");
            }
        }
    }

    #[test]
    fn times_at_the_ends_of_time_are_no_trouble() {
        let mut schedules = ["* * * * *", "0 0 29 2 *", "5 seconds"].map(schedule).to_vec();
        schedules.push(Schedule::every(1, 0, 0, 0).unwrap());
        schedules.push(Schedule::every(0, 1, 1, i64::MIN).unwrap());
        for schedule in schedules {
            for after in [
                i64::MIN,
                i64::MIN + 1,
                -377_705_116_800_000_000,
                253_402_207_200_000_000,
                i64::MAX - 1,
                i64::MAX,
            ] {
                if let Some(next) = schedule.next(after, &zone("Europe/Berlin")) {
                    assert!(next > after, "{schedule:?} {after}");
                }
            }
        }
        assert_eq!(Schedule::Once(5).next(4, &Zone::UTC), Some(5));
        assert_eq!(Schedule::Once(5).next(5, &Zone::UTC), None);
    }
}

mod daylight_saving {
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
}

mod intervals {
    use super::*;

    fn times(schedule: &Schedule, zone_name: &str, after: &str, n: usize) -> Vec<String> {
        let (zone, mut time) = (zone(zone_name), at(after));
        (0..n)
            .map(|_| {
                time = schedule.next(time, &zone).unwrap();
                let instant = Timestamp::from_microsecond(time).unwrap();
                instant
                    .to_zoned_datetime(zone.0.clone())
                    .strftime("%Y-%m-%d %H:%M %:::z")
                    .to_string()
            })
            .collect()
    }

    #[test]
    fn real_time_is_counted_from_the_anchor() {
        let anchor = at("2026-01-01T00:07:00Z");
        let quarter = Schedule::every(0, 0, 15 * MINUTE, anchor).unwrap();
        assert_eq!(
            times(&quarter, "UTC", "2025-12-31T12:00:00Z", 3),
            ["2026-01-01 00:07 +00", "2026-01-01 00:22 +00", "2026-01-01 00:37 +00"]
        );
        assert_eq!(
            times(&quarter, "UTC", "2026-05-01T12:07:00Z", 1),
            ["2026-05-01 12:22 +00"]
        );
        assert_eq!(schedule("15 seconds").next(44_999_999, &Zone::UTC), Some(45_000_000));
        assert_eq!(schedule("15 seconds").next(45_000_000, &Zone::UTC), Some(60_000_000));
    }

    #[test]
    fn months_and_days_are_those_of_the_calendar() {
        let monthly = Schedule::every(1, 0, 0, at("2026-01-31T09:00:00Z")).unwrap();
        assert_eq!(
            times(&monthly, "UTC", "2026-01-31T09:00:00Z", 3),
            ["2026-02-28 09:00 +00", "2026-03-31 09:00 +00", "2026-04-30 09:00 +00"]
        );
        // 2:30 in New York, each day: skipped on the 8th of March.
        let daily = Schedule::every(0, 1, 0, at("2026-03-01T07:30:00Z")).unwrap();
        assert_eq!(
            times(&daily, "America/New_York", "2026-03-07T00:00:00Z", 3),
            ["2026-03-07 02:30 -05", "2026-03-08 03:30 -04", "2026-03-09 02:30 -04"]
        );
        let mixed = Schedule::every(0, 1, 12 * HOUR, at("2026-03-01T00:00:00Z")).unwrap();
        assert_eq!(
            times(&mixed, "UTC", "2026-03-01T00:00:00Z", 2),
            ["2026-03-02 12:00 +00", "2026-03-04 00:00 +00"]
        );
    }

    proptest! {
        #[test]
        fn the_next_is_the_first_of_the_sequence(
            months in 0_i32..14, days in 0_i32..40, micros in 0_i64..3 * DAY, back in 0_i64..4000 * DAY, zone_at in 0_usize..3,
        ) {
            let zone = zone(["UTC", "America/New_York", "Pacific/Apia"][zone_at]);
            let after = at("2026-06-01T00:00:00Z");
            if let Ok(every) = Schedule::every(months, days, micros + DAY / 24, after - back) {
                let mut expected = after - back;
                while expected <= after {
                    expected = every.next(expected, &zone).unwrap();
                }
                prop_assert_eq!(every.next(after, &zone), Some(expected));
                prop_assert!(every.next(expected - 1, &zone) == Some(expected));
            }
        }
    }
}

#[test]
fn zones_have_their_names() {
    assert_eq!(zone("europe/berlin").name(), "Europe/Berlin");
    assert_eq!(Zone::UTC.name(), "UTC");
    for name in [
        "",
        "Europe/Bielefeld",
        "Etc/Unknown",
        "../etc/passwd",
        "/usr/share/zoneinfo/UTC",
        "CET-1CEST",
    ] {
        let error = Zone::parse(name).unwrap_err();
        assert_eq!(error.to_string(), format!("time zone \"{name}\" is not known"));
    }
}

/// A search is microseconds; the bound only tells it from one that steps through minutes or transitions by the thousand.
#[test]
fn the_search_is_quick() {
    let zone = zone("America/New_York");
    let begin = std::time::Instant::now();
    for text in ["0 0 29 2 */7", "30 2 8 3 *", "* * * * *", "0 0 30 2 *"] {
        let schedule = schedule(text);
        for day in 0..100 {
            std::hint::black_box(schedule.next(at("2026-01-01T00:00:00Z") + day * DAY, &zone));
        }
    }
    let each = begin.elapsed() / 400;
    assert!(each.as_millis() < 5, "{each:?}");
}
