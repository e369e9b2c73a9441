use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

mod daylight_saving;
mod days;
mod grammar;
mod intervals;

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
