//! Output of psql without what differs from run to run, for comparison.

use std::sync::OnceLock;

use regex_lite::Regex;

/// What is blurred, in this order, and what stands in its place.
const BLURRED: &[(&str, &str)] = &[
    // The axis of a timeline, which may have a part cut out; its bars, with the blanks between them.
    (r"(?m)^ *\|0 .*$", "<axis>"),
    (r" *╱+ not to scale", ""),
    (r" *[\u{2500}-\u{259F}·…][\u{2500}-\u{259F}·… ]*", " <bar> "),
    (
        r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
        "<uuid>",
    ),
    (
        r"\b\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|UTC|[+-]\d\d(:?\d\d)?))?)?",
        "<time>",
    ),
    // Times of day, and intervals.
    (r"-?\b(\d+ days? )?\d\d:\d\d:\d\d(\.\d+)?", "<time>"),
    (
        r"\b\d+(\.\d+)? (µs|us|ms|s|min|h|d)\b( \d+ (µs|us|ms|s|min|h|d)\b)*",
        "<duration>",
    ),
    // "pid": 1, pid=1, duration_ms 1.5, foo_seconds{bar="baz"} 0.1
    (
        r#"\b(pid|[a-z_]*_(?:pid|us|ms|seconds|seconds_sum))("?(?:\{[^}]*\})?(?: ?[:=] ?| +))-?\d+(\.\d+)?(e-?\d+)?"#,
        "$1$2<number>",
    ),
    (r"\[\d+\]", "[<pid>]"),
    // Columns are as wide as what is in them.
    (r"-{2,}", "-"),
    (r" {2,}", " "),
];

/// Blurs times, durations, UUIDs, process ids and bars, and the columns of a table that have them, and takes away blanks at
/// both ends of a line and blank lines at both ends of the text.
pub fn normal(text: &str) -> String {
    static RULES: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
    let rules = RULES.get_or_init(|| {
        let compile = |(pattern, with): &(&str, &'static str)| (Regex::new(pattern).expect("a pattern"), *with);
        BLURRED.iter().map(compile).collect()
    });
    let mut blurred = columns(text);
    for (pattern, with) in rules {
        blurred = pattern.replace_all(&blurred, *with).into_owned();
    }
    let lines: Vec<&str> = blurred.lines().map(str::trim).collect();
    lines.join("\n").trim().to_owned()
}

/// Blurs whole cells of columns whose names say that they differ: pid, ..._ms, ..._seconds.
fn columns(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut varying: Vec<usize> = Vec::new();
    let mut shown = Vec::with_capacity(lines.len());
    for (i, line) in lines.iter().enumerate() {
        let ruled = |line: &&&str| line.contains('-') && line.chars().all(|c| matches!(c, '-' | '+'));
        if lines.get(i + 1).filter(ruled).is_some() {
            let names = line.split('|').map(str::trim).enumerate();
            varying = names.filter(|(_, name)| varies(name)).map(|(i, _)| i).collect();
            shown.push((*line).to_owned());
        } else if varying.is_empty() || ruled(&line) {
            shown.push((*line).to_owned());
        } else if line.trim().is_empty() || line.starts_with('(') {
            varying.clear();
            shown.push((*line).to_owned());
        } else {
            let cells = line.split('|').enumerate();
            let cells = cells.map(|(i, cell)| {
                let blurs = varying.contains(&i) && !cell.trim().is_empty();
                if blurs { " <number> " } else { cell }
            });
            shown.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    shown.join("\n")
}

fn varies(name: &str) -> bool {
    let ends = ["_pid", "_us", "_ms", "_seconds"];
    name == "pid" || ends.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn what_differs_from_run_to_run_is_blurred() {
        let same = |one: &str, other: &str| assert_eq!(normal(one), normal(other));
        same(
            "0193e5a1-2f3c-7abc-8def-0123456789ab x",
            "0193e5a2-2f3c-7abc-8def-0123456789ff x",
        );
        same("at 2026-11-26 05:20:29.123+00", "at 2025-01-02 03:04:05+02");
        same("2026-11-26T05:20:29Z |", "2026-11-27T05:20:29.5Z |");
        same("| 00:00:01.5", "| 1 day 00:00:12");
        same("took 1.2 ms, then 3 d 4 h", "took 14 s, then 5 min");
        same(
            r#"{"pid": 12, "duration_ms": 1.5}"#,
            r#"{"pid": 4711, "duration_ms": 20}"#,
        );
        same("foo_seconds_sum{role=\"a\"} 0.001", "foo_seconds_sum{role=\"a\"} 12");
        same(
            "2026-11-26 05:20:29.123 UTC [17] LOG:  x",
            "2026-11-27 05:20:29.5 UTC [18] LOG:  x",
        );
        same("        |0   |5 ms   10 ms|", "   |0  ╱╱ 3 d  |4 d  9 d|");
        same("█ running  ─ waiting  ╱╱ not to scale", "█ running  ─ waiting");
        same(" charge |  ▓▓▓██  · 1.5 s", " charge |▓██ ▒▒ · 1.5 ms");
    }

    #[test]
    fn tables_are_as_wide_as_their_cells() {
        let one = " pid | name | busy_ms \n-----+------+---------\n  12 | a    |     1.5\n(1 row)\n\n 12\n";
        let other = "  pid  | name | busy_ms \n-------+------+---------\n  4711 | a    |      15\n(1 row)\n\n 12";
        assert_eq!(normal(one), normal(other));
        assert_ne!(normal(one), normal(&other.replace("| a ", "| b ")));
        assert_ne!(normal(one), normal(&other.replace("\n 12", "\n 13")));
    }

    #[test]
    fn what_is_the_same_each_time_is_compared() {
        for (one, other) in [
            ("10 rows", "11 rows"),
            ("attempt 1", "attempt 2"),
            ("7 days", "8 days"),
            ("| completed |", "| failed |"),
            ("order-42", "order-43"),
        ] {
            assert_ne!(normal(one), normal(other));
        }
    }
}
