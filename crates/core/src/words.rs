//! Lengths of time and names, for people.

/// A length of time in microseconds, in its two largest units: `850 µs`, `1.2 ms`, `12 s`, `3 h 20 min`, `3 d 4 h`.
pub fn duration(micros: i64) -> String {
    const SECOND: i64 = 1_000_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    // What would be rounded up to the next unit is said in that.
    let two = |large: i64, small: i64, names: [&str; 2]| {
        let whole = (micros + small / 2) / small * small;
        match whole % large / small {
            0 => format!("{} {}", whole / large, names[0]),
            rest => format!("{} {} {rest} {}", whole / large, names[0], names[1]),
        }
    };
    let one = |unit: i64, name: &str| {
        if micros < 10 * unit - unit / 20 {
            let tenths = (micros + unit / 20) * 10 / unit;
            match tenths % 10 {
                0 => format!("{} {name}", tenths / 10),
                rest => format!("{}.{rest} {name}", tenths / 10),
            }
        } else {
            format!("{} {name}", (micros + unit / 2) / unit)
        }
    };
    match micros {
        ..0 => "0 s".to_owned(),
        0..1000 => format!("{micros} µs"),
        1000..999_500 => one(1000, "ms"),
        999_500..59_500_000 => one(SECOND, "s"),
        59_500_000..3_599_500_000 => two(MINUTE, SECOND, ["min", "s"]),
        3_599_500_000..86_370_000_000 => two(HOUR, MINUTE, ["h", "min"]),
        _ => {
            let (micros, small) = (micros.min(i64::MAX - HOUR), HOUR);
            let whole = (micros + small / 2) / small * small;
            match whole % DAY / small {
                0 => format!("{} d", whole / DAY),
                rest => format!("{} d {rest} h", whole / DAY),
            }
        }
    }
}

/// A number with its thousands set off.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `text` in one line of at most `width` columns, cut with `…`. What has no width, or two columns, becomes one that has one.
pub fn fit(text: &str, width: usize) -> String {
    let mut shown: String = text.chars().take(width.saturating_add(1)).map(plain).collect();
    if shown.chars().count() > width {
        shown = shown.chars().take(width.saturating_sub(1)).collect();
        if width > 0 {
            shown.push('…');
        }
    }
    shown
}

/// A terminal gives this one column. Scripts that are wide, or that combine, are not told apart further.
fn plain(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => '\u{FFFD}',
        '\u{AD}'
        | '\u{300}'..='\u{36F}'
        | '\u{200B}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' => '\u{FFFD}',
        '\u{1100}'..='\u{11FF}' | '\u{2E80}'..='\u{A4CF}' | '\u{AC00}'..='\u{D7FF}' | '\u{F900}'..='\u{FAFF}' => {
            '\u{FFFD}'
        }
        '\u{FE00}'..='\u{FE6F}' | '\u{FEFF}' | '\u{FF00}'..='\u{FF60}' | '\u{1F000}'.. => '\u{FFFD}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (micros, words) in [
            (-5, "0 s"),
            (0, "0 µs"),
            (850, "850 µs"),
            (1000, "1 ms"),
            (1_240, "1.2 ms"),
            (9_949, "9.9 ms"),
            (9_950, "10 ms"),
            (12_400, "12 ms"),
            (999_499, "999 ms"),
            (999_500, "1 s"),
            (1_500_000, "1.5 s"),
            (59_499_999, "59 s"),
            (59_500_000, "1 min"),
            (125_000_000, "2 min 5 s"),
            (3_599_500_000, "1 h"),
            (12_000_000_000, "3 h 20 min"),
            (86_400_000_000, "1 d"),
            (273_600_000_000, "3 d 4 h"),
        ] {
            assert_eq!(duration(micros), words, "{micros}");
        }
    }

    #[test]
    fn thousands_are_set_off() {
        assert_eq!([1, 999, 1000, 1_234_567].map(count), ["1", "999", "1,000", "1,234,567"]);
    }

    proptest! {
        #[test]
        fn a_duration_is_short(micros: i64) {
            prop_assert!(duration(micros).chars().count() <= 16);
        }

        #[test]
        fn a_text_fits(text: String, width in 0_usize..50) {
            let fitted = fit(&text, width);
            prop_assert!(fitted.chars().count() <= width);
            let controls = fitted.chars().filter(|c| c.is_control()).count();
            prop_assert_eq!(controls, 0);
        }
    }
}
