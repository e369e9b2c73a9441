//! Whatever a user hands to a parser: it answers, with a value or an error, and does not panic, nor take for ever.
//! `PROPTEST_CASES=100000 cargo test -p pg_workflow_core --test hostile` looks for longer.

use std::time::{Duration, Instant};

use pg_workflow_core::limit::Bucket;
use pg_workflow_core::options::WorkflowOptions;
use pg_workflow_core::policy::{RetryPolicy, Verdict};
use pg_workflow_core::retention::{self, Batch, Ended, Rules};
use pg_workflow_core::schedule::{self, Schedule, Zone};
use pg_workflow_core::signature::{self, Parameter};
use pg_workflow_core::{events, lexer, lint, schema, script, sqlstate, target, ticks};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Pieces that parsers stumble over, one a line here but for those that are white space or hard to see.
const PIECES: &str = r#"' " \ $$ $a$ /* */ -- ; , . ( ) [ ] { } : :: := => * / - + @ % ? # L 0 1 59 60 -1 1e400 99999999999999999999999999
    9223372036854775807 0x1F NaN Infinity null ß İ 日本 🏴‍☠️ SELECT from insert into wf_step wf_begin U&'\0041' E'\' every seconds @reboot
    @daily jan MON Europe/Berlin .. ../ pg_temp.x UPDATE OF 40* P0001"#;
const UNSEEN: [&str; 12] = [
    "\n", "\r\n", "\t", "\0", "\u{1}", "\u{7f}", " ", "\u{a0}", "\u{202e}", "\u{feff}", "e\u{301}", "",
];

fn text() -> impl Strategy<Value = String> {
    let pieces: Vec<&str> = PIECES.split_whitespace().chain(UNSEEN).collect();
    let piece = prop::sample::select(pieces);
    prop_oneof![
        3 => prop::collection::vec(piece.clone(), 0..24).prop_map(|pieces| pieces.concat()),
        1 => prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.join(" ")),
        1 => any::<String>(),
    ]
}

/// Keys that mean something, among others.
fn key() -> impl Strategy<Value = String> {
    let known = "max_attempts first_delay backoff max_delay jitter retry_on no_retry_on retry step_timeout step_total_timeout
        start_timeout timeout priority name payload after result fail times sqlstate message type items properties required pattern
        format enum $ref $defs $schema allOf not minimum multipleOf maxLength uniqueItems dependentRequired if then contains
        unevaluatedProperties";
    let known: Vec<&str> = known.split_whitespace().collect();
    prop_oneof![3 => prop::sample::select(known).prop_map(str::to_owned), 1 => text()]
}

fn value() -> impl Strategy<Value = Value> {
    let telling = [
        json!(0),
        json!(-1),
        json!(5),
        json!(1e308),
        json!("1 s"),
        json!("object"),
        json!("#"),
        json!("#/$defs/a"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(telling.to_vec()),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        let fields = prop::collection::vec((key(), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Value::from),
            fields.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// As the extension reads durations: any number of microseconds may come of a text.
fn duration(text: &str) -> Option<i64> {
    match text.len() % 5 {
        0 => None,
        1 => Some(i64::MIN),
        2 => Some(i64::MAX),
        _ => Some(text.len() as i64 * 1_000_000),
    }
}

proptest! {
    #[test]
    fn source_code(text in text()) {
        let tokens = lexer::tokens(&text);
        prop_assert!(tokens.is_sorted_by_key(|token| token.line));
        lint::look(&text);
        target::is_name(&text);
    }

    #[test]
    fn schedules(text in text(), after in any::<i64>()) {
        if let Ok(parsed) = schedule::parse(&text) {
            for zone in ["UTC", "Europe/Berlin", "Pacific/Apia"] {
                let zone = Zone::parse(zone).expect("known");
                if let Some(next) = parsed.schedule.next(after, &zone) {
                    prop_assert!(next > after);
                }
            }
        }
        let _ = Zone::parse(&text);
    }

    #[test]
    fn intervals(
        months in any::<i32>(), days in any::<i32>(), micros in any::<i64>(), anchor in any::<i64>(), after in any::<i64>(),
    ) {
        if let Ok(schedule) = Schedule::every(months, days, micros, anchor)
            && let Some(next) = schedule.next(after, &Zone::parse("Europe/Berlin").expect("known"))
        {
            prop_assert!(next > after);
        }
    }

    #[test]
    fn options_and_policies(value in value(), attempt in any::<u32>(), random in 0.0..1.0) {
        let _ = WorkflowOptions::from_json(&value, &duration);
        if let Ok(policy) = RetryPolicy::from_json(&value, &duration)
            && let Verdict::Retry(wait) = policy.decide(attempt, "40001", random)
        {
            prop_assert!(wait >= 0);
        }
    }

    #[test]
    fn scripts(value in value(), step in key(), occurrence in any::<u32>(), attempt in any::<u32>()) {
        let _ = script::signals(&value, &duration);
        if let Ok(mut answers) = script::Answers::from_json(&value, &duration) {
            answers.answer(&step, occurrence, attempt);
            answers.unused();
        }
    }

    #[test]
    fn json_schemas(schema in value(), value in value()) {
        let _ = schema::check(&schema.to_string(), &value.to_string());
    }

    #[test]
    fn json_schemas_of_any_text(schema in text(), value in text()) {
        let _ = schema::check(&schema, &value);
    }

    #[test]
    fn short_texts(text in text(), other in text()) {
        let _ = events::parse(&text);
        sqlstate::is_pattern(&text);
        sqlstate::matches(&text, &other);
        let _ = ticks::CatchUp::from_name(&text);
        ticks::stamp(ticks::jitter(text.as_bytes(), i64::MAX, i64::MAX));
    }

    #[test]
    fn signatures(
        parameters in prop::collection::vec((text(), text(), any::<bool>()), 0..6),
        keys in prop::option::of(prop::collection::btree_set(text(), 0..6)),
    ) {
        let parameters: Vec<_> = parameters
            .into_iter()
            .map(|(name, type_name, has_default)| Parameter { name, type_name, has_default })
            .collect();
        let _ = signature::fit(&parameters, keys.as_ref());
    }

    #[test]
    fn numbers(a in any::<i64>(), b in any::<i64>(), rate in 1..i32::MAX, per in 1..i64::MAX, tokens in 0.0..1e9) {
        let bucket = Bucket { rate, per, tokens, filled_at: a };
        bucket.filled(b).available();
        bucket.next();
        retention::period(a);
        retention::patience(a);
        Batch::default().observe(a);
        Rules::new(Some(a), Vec::new()).due(Ended { workflow: "", owner: 0, failed: false, at: b });
    }
}

/// A parser that is quadratic would take minutes for these, and one that recurses would end the process.
#[test]
fn long_and_deep_texts() {
    const LIMIT: Duration = Duration::from_secs(60);
    const TIMES: usize = 100_000;
    let pieces = [
        "/*",
        "$a$",
        "'",
        "\"",
        "(",
        "[",
        "{\"a\":",
        "wf_step(",
        "* ",
        "1,",
        "ß",
        "\\",
        "U&'",
        "select from ",
        "*/1-2,",
        "a.",
        "$",
        "--\n",
    ];
    for piece in pieces {
        let text = piece.repeat(TIMES);
        let begun = Instant::now();
        lexer::tokens(&text);
        lint::look(&text);
        target::is_name(&text);
        let _ = schedule::parse(&text);
        let _ = Zone::parse(&text);
        let _ = events::parse(&text);
        let _ = schema::check(&text, "1");
        let _ = schema::check("true", &text);
        sqlstate::is_pattern(&text);
        assert!(begun.elapsed() < LIMIT, "{piece} repeated took {:?}", begun.elapsed());
    }
}
