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
