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
