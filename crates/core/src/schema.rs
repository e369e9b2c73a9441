//! JSON Schema: does a value fit, and if not, what is wrong where. Nothing is fetched, and no schema takes for ever.
//!
//! Schema and value come as texts, since a JSON number of Postgres may be beyond what a parsed one holds.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use thiserror::Error;

/// Longest schema, in bytes.
pub const MAX_SCHEMA: usize = 64 * 1024;

/// Depth to which a schema may be nested, the ways through its references included.
const MAX_DEPTH: usize = 100;

/// Bytes of a schema, with each reference replaced by what it means, times bytes of the value: what a check may cost.
/// A check cannot be interrupted, so this bounds it to some seconds, and any schema that people write to some milliseconds.
const MAX_COST: usize = 1_000_000_000;

/// Bytes of a schema with its references replaced.
const MAX_WEIGHT: usize = 1_000_000;

/// Parts of a schema, likewise.
const MAX_PARTS: usize = 100_000;

/// Memory of a compiled pattern and of its automaton, in bytes. Patterns are matched in linear time.
const MAX_PATTERN: usize = 256 * 1024;

/// Patterns of a schema, each of which may take that much.
const MAX_PATTERNS: usize = 100;

/// Problems that are named at once.
const MAX_PROBLEMS: usize = 5;

/// What is wrong with a schema.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SchemaError {
    #[error("It has {bytes} bytes; the limit is {MAX_SCHEMA}.")]
    TooLong { bytes: usize },
    #[error("It cannot be read: {0}.")]
    Unreadable(String),
    #[error("{}: {problem}.", place(at))]
    Malformed { at: String, problem: String },
}

/// Why a value is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// What is wrong where, a sentence a problem.
    #[error("{}", .0.join(" "))]
    Unfit(Vec<String>),
    /// It is too large for what the schema asks of it.
    #[error("It has {bytes} bytes; to be checked against this schema it may have {limit}.")]
    TooLarge { bytes: usize, limit: usize },
    #[error("It cannot be read: {0}.")]
    Unreadable(String),
    #[error("The schema is malformed. {0}")]
    Schema(SchemaError),
}

/// A schema that has been read.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    weight: usize,
}

impl Schema {
    /// Reads a schema. Its draft is that of its `$schema`, or 2020-12.
    ///
    /// # Errors
    /// What is no schema, is too long or too deep, refers to itself or to anything outside, or has a pattern that is not
    /// regular (look-around, back-references) or too large.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        if text.len() > MAX_SCHEMA {
            return Err(SchemaError::TooLong { bytes: text.len() });
        }
        let schema: Value = serde_json::from_str(text).map_err(|error| SchemaError::Unreadable(error.to_string()))?;
        let draft_4 = schema["$schema"]
            .as_str()
            .is_some_and(|draft| draft.contains("draft-04"));
        let mut weigher = Weigher {
            root: &schema,
            draft_4,
            parts: 0,
            patterns: 0,
        };
        let weight = weigher.weigh(&schema, 0)?;
        let problem = if weight > MAX_WEIGHT {
            Some(REPEATS.to_owned())
        } else if weigher.patterns > MAX_PATTERNS {
            Some(format!("it has more than {MAX_PATTERNS} patterns"))
        } else {
            None
        };
        if let Some(problem) = problem {
            let at = String::new();
            return Err(SchemaError::Malformed { at, problem });
        }
        let patterns = PatternOptions::regex()
            .size_limit(MAX_PATTERN)
            .dfa_size_limit(MAX_PATTERN);
        let validator = jsonschema::options()
            .offline()
            .should_validate_formats(true)
            .with_pattern_options(patterns)
            .build(&schema)
            .map_err(|error| SchemaError::Malformed {
                at: error.instance_path().to_string(),
                problem: error.to_string(),
            })?;
        Ok(Self { validator, weight })
    }

    /// Says whether the value with this text fits. No message repeats the value: it may be a secret.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self, text: &str) -> Result<(), Refusal> {
        let limit = MAX_COST / self.weight;
        if text.len() > limit {
            let bytes = text.len();
            return Err(Refusal::TooLarge { bytes, limit });
        }
        let value: Value = serde_json::from_str(text).map_err(|error| Refusal::Unreadable(error.to_string()))?;
        if self.validator.is_valid(&value) {
            return Ok(());
        }
        let problem = |error: jsonschema::ValidationError| {
            format!("{}: {}.", place(error.instance_path().as_str()), error.masked())
        };
        Err(Refusal::Unfit(
            self.validator
                .iter_errors(&value)
                .take(MAX_PROBLEMS)
                .map(problem)
                .collect(),
        ))
    }
}

/// Checks a value against a schema, both as texts.
///
/// # Errors
/// Why it does not fit.
pub fn check(schema: &str, value: &str) -> Result<(), Refusal> {
    Schema::parse(schema).map_err(Refusal::Schema)?.check(value)
}

/// A JSON pointer in words.
fn place(pointer: &str) -> String {
    if pointer.is_empty() {
        "At the top".to_owned()
    } else {
        format!("At {pointer}")
    }
}

const REPEATS: &str = "it repeats its parts too often";

/// Sums up a schema's bytes, those behind references each time that they are referred to: twenty-five lines that each refer
/// twice to the line before would otherwise take a minute.
struct Weigher<'a> {
    root: &'a Value,
    draft_4: bool,
    /// Seen so far.
    parts: usize,
    patterns: usize,
}

impl Weigher<'_> {
    fn weigh(&mut self, value: &Value, depth: usize) -> Result<usize, SchemaError> {
        let refuse = |problem: String| SchemaError::Malformed {
            at: String::new(),
            problem,
        };
        if depth > MAX_DEPTH {
            return Err(refuse(format!(
                "it is nested more than {MAX_DEPTH} deep, or refers to itself"
            )));
        }
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(refuse(REPEATS.to_owned()));
        }
        let mut sum = 0_usize;
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    sum = sum.saturating_add(key.len() + 2);
                    let weight = match (key.as_str(), value) {
                        ("$ref", Value::String(target)) => {
                            let found = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
                            let found = found.ok_or_else(|| {
                                refuse(format!("\"$ref\" must be a JSON pointer into the schema, such as \"#/$defs/name\", not \"{target}\""))
                            })?;
                            self.weigh(found, depth + 1)?
                        }
                        // They change what a pointer means.
                        ("$anchor" | "$dynamicAnchor" | "$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                            return Err(refuse(format!("\"{key}\" cannot be used")));
                        }
                        ("$id" | "id", Value::String(_)) if depth > 0 && (key == "$id" || self.draft_4) => {
                            return Err(refuse(format!("\"{key}\" can be used at the top only")));
                        }
                        (_, value) => self.weigh(value, depth + 1)?,
                    };
                    sum = sum.saturating_add(weight);
                    self.patterns += match (key.as_str(), value) {
                        ("pattern", Value::String(_)) => 1,
                        ("patternProperties", Value::Object(patterns)) => patterns.len(),
                        _ => 0,
                    };
                }
                // All that stands beside it is evaluated again, and again within.
                if map.contains_key("unevaluatedProperties") || map.contains_key("unevaluatedItems") {
                    sum = sum.saturating_mul(4);
                }
            }
            Value::Array(items) => {
                for item in items {
                    sum = sum.saturating_add(self.weigh(item, depth + 1)?);
                }
            }
            Value::String(text) => sum = text.len() + 2,
            Value::Null | Value::Bool(_) | Value::Number(_) => sum = 4,
        }
        Ok(sum.saturating_add(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const ORDER: &str = r##"{"type": "object", "required": ["ok"], "additionalProperties": false,
        "properties": {"ok": {"type": "boolean"}, "amount": {"type": "number", "minimum": 3},
                       "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}},
        "$defs": {"line": {"type": "object", "required": ["item"]}}}"##;

    fn problems(schema: &str, value: &str) -> Vec<String> {
        match check(schema, value) {
            Err(Refusal::Unfit(problems)) => problems,
            other => panic!("{other:?}"),
        }
    }

    fn malformed(schema: &str) -> String {
        Schema::parse(schema).expect_err(schema).to_string()
    }

    #[test]
    fn what_fits_is_let_through() {
        for value in [
            r#"{"ok": true}"#,
            r#"{"ok": false, "amount": 3, "lines": [{"item": 1}]}"#,
        ] {
            assert_eq!(check(ORDER, value), Ok(()), "{value}");
        }
        assert_eq!(check("true", "[1, null]"), Ok(()));
        assert_eq!(check(r#"{"enum": [null, 1]}"#, "null"), Ok(()));
    }

    #[test]
    fn what_does_not_is_named_with_its_place_and_without_its_value() {
        assert_eq!(
            problems(ORDER, r#"{"ok": "my secret", "amount": 1}"#),
            [
                "At /amount: value is less than the minimum of 3.",
                "At /ok: value is not of type \"boolean\"."
            ]
        );
        assert_eq!(
            problems(ORDER, r#"{"ok": true, "lines": [{"item": 1}, {}]}"#),
            ["At /lines/1: \"item\" is a required property."]
        );
        assert_eq!(problems(ORDER, "7"), ["At the top: value is not of type \"object\"."]);
        assert_eq!(problems(r#"{"items": false}"#, "[1,2,3,4,5,6,7,8]").len(), MAX_PROBLEMS);
        assert_eq!(problems(r#"{"format": "date"}"#, "\"soon\"").len(), 1);
    }

    #[test]
    fn a_malformed_schema_names_its_mistake() {
        assert!(malformed(r#"{"properties": {"ok": {"type": "bool"}}}"#).contains("/properties/ok/type"));
        for schema in [
            "[]",
            "7",
            "{",
            r#"{"minimum": "3"}"#,
            r#"{"required": "ok"}"#,
            r#"{"$schema": "mine:x"}"#,
        ] {
            malformed(schema);
        }
        let long = format!("{{\"title\": \"{}\"}}", "x".repeat(MAX_SCHEMA));
        assert!(matches!(Schema::parse(&long), Err(SchemaError::TooLong { .. })));
    }

    #[test]
    fn nothing_is_fetched() {
        for target in [
            "http://example.com/x.json",
            "file:///etc/passwd",
            "x.json",
            "#name",
            "#/$defs/none",
            "https://json-schema.org/draft/2020-12/schema",
        ] {
            let schema = json!({"$ref": target}).to_string();
            assert!(malformed(&schema).contains("JSON pointer into the schema"), "{schema}");
        }
        malformed(r##"{"$id": "file:///etc/", "$defs": {"a": {"$id": "passwd"}}, "$ref": "#/$defs/a"}"##);
        malformed(r##"{"$dynamicRef": "#a"}"##);
        assert_eq!(
            check(r#"{"$id": "https://example.com/mine", "type": "integer"}"#, "1"),
            Ok(())
        );
    }

    #[test]
    fn no_schema_takes_for_ever() {
        // Doubled with each level: 2^40 checks.
        let mut defs = serde_json::Map::from_iter([("d0".to_owned(), json!({"type": "integer"}))]);
        for level in 1..=40 {
            let below = json!({"$ref": format!("#/$defs/d{}", level - 1)});
            defs.insert(format!("d{level}"), json!({"allOf": [below, below]}));
        }
        let schema = json!({"$defs": defs, "$ref": "#/$defs/d40"}).to_string();
        assert!(malformed(&schema).contains("too often"));
        // Doubled with each level of the value.
        assert!(malformed(r##"{"items": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}"##).contains("itself"));
        malformed(&format!("{}true{}", r#"{"not":"#.repeat(120), "}".repeat(120)));
        // Likewise, by keywords that look at what was evaluated.
        let mut nested = json!({"unevaluatedProperties": false});
        for _ in 0..3 {
            nested = json!({"allOf": [nested], "unevaluatedProperties": false});
        }
        assert_eq!(check(&nested.to_string(), "{}"), Ok(()));
        for _ in 0..12 {
            nested = json!({"allOf": [nested], "unevaluatedProperties": false});
        }
        assert!(malformed(&nested.to_string()).contains("too often"));
        // Patterns: linear, small and few.
        malformed(&json!({"allOf": vec![json!({"pattern": "a"}); 101]}).to_string());
        for pattern in ["(?=a)b", "(a)\\1", "(x{1000}){1000}", "(", "\\p{Nonsense}"] {
            malformed(&json!({"pattern": pattern}).to_string());
        }
        let value = format!("\"{}\"", "a".repeat(100_000));
        assert_eq!(
            problems(r#"{"pattern": "^(a+)+$|^(a|aa)+b$|x"}"#, &value.replace("a\"", "!\"")).len(),
            1
        );
    }

    #[test]
    fn a_value_may_be_too_large_for_its_schema() {
        let schema = json!({"enum": vec![7; 10_000]}).to_string();
        let value = format!("[{}0]", "0,".repeat(50_000));
        assert!(matches!(check(&schema, &value), Err(Refusal::TooLarge { .. })));
        assert_eq!(check("true", &value), Ok(()));
        assert!(matches!(check("true", "1e999"), Err(Refusal::Unreadable(_))));
        assert!(matches!(check("true", &"[".repeat(1000)), Err(Refusal::Unreadable(_))));
    }

    proptest! {
        #[test]
        fn nothing_panics(schema in "[{}\\[\\]\"$a-z:,/#0-9 ]{0,60}", value in "[{}\\[\\]\"a-z:,0-9 ]{0,40}") {
            let _ = check(&schema, &value);
        }
    }
}
