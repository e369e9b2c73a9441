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
    for line in include_str!("../../../testdata/pg_cron_schedules.tsv").lines().skip(1) {
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
