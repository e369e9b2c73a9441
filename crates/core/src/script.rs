//! The script of a rehearsal: signals that will come, and steps that are answered without being run.
//!
//! Payloads, times and results are only looked at here: whoever has the script finds them at the places that are given.

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

use crate::options::{Fields, OptionError};
use crate::sqlstate;

type Durations<'a> = &'a dyn Fn(&str) -> Option<i64>;

/// What is wrong with a script, and where.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{error}")]
pub struct ScriptError {
    /// `the mock of step "charge"`; `None` for the script as a whole.
    pub place: Option<String>,
    pub error: OptionError,
}

impl ScriptError {
    fn whole(error: OptionError) -> Self {
        Self { place: None, error }
    }
}

/// Reads signals; returns their names, in the order of the script.
///
/// # Errors
/// Unknown keys, missing names, wrong types.
pub fn signals(value: &Value, durations: Durations) -> Result<Vec<String>, ScriptError> {
    let items = value
        .as_array()
        .ok_or_else(|| ScriptError::whole(OptionError::NotAnArray { what: "signals" }))?;
    let read = |item: &Value| {
        let mut fields = Fields::of("signal", item, durations)?;
        let name = fields.text("name", "a text", |name| !name.is_empty())?;
        fields.take("payload");
        fields.duration("after")?;
        let name = name.ok_or_else(|| fields.wrong("name", "given"))?;
        fields.finish()?;
        Ok(name)
    };
    let place = |number: usize| Some(format!("signal {}", number + 1));
    items
        .iter()
        .enumerate()
        .map(|(number, item)| {
            read(item).map_err(|error| ScriptError {
                place: place(number),
                error,
            })
        })
        .collect()
}

/// An error that an attempt is to fail with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

/// What an attempt comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The result in the script: of the step's mock, or of this one in its array.
    Result(Option<usize>),
    Fail(Failure),
}

#[derive(Debug)]
struct Mock {
    fail: Option<Failure>,
    /// Attempts that fail.
    times: u32,
    result: bool,
    used: bool,
}

#[derive(Debug)]
enum Mocks {
    Every(Mock),
    /// One for each occurrence; `None`: it is run.
    Each(Vec<Option<Mock>>),
}

/// Answers to steps, by name.
#[derive(Debug)]
pub struct Answers(BTreeMap<String, Mocks>);

impl Answers {
    /// Reads mocks.
    ///
    /// # Errors
    /// Unknown keys, wrong types, mocks that say nothing.
    pub fn from_json(value: &Value, durations: Durations) -> Result<Self, ScriptError> {
        let steps = value
            .as_object()
            .ok_or_else(|| ScriptError::whole(OptionError::NotAnObject { what: "mocks" }))?;
        let mut answers = BTreeMap::new();
        for (step, value) in steps {
            let at = |place: String| {
                move |error| ScriptError {
                    place: Some(place),
                    error,
                }
            };
            let mocks = match value.as_array() {
                Some(items) => {
                    let mut mocks = Vec::with_capacity(items.len());
                    for (number, item) in items.iter().enumerate() {
                        let place = format!("mock {} of step \"{step}\"", number + 1);
                        let mock = (!item.is_null()).then(|| Mock::from_json(item, durations));
                        mocks.push(mock.transpose().map_err(at(place))?);
                    }
                    Mocks::Each(mocks)
                }
                None => {
                    Mocks::Every(Mock::from_json(value, durations).map_err(at(format!("the mock of step \"{step}\"")))?)
                }
            };
            answers.insert(step.clone(), mocks);
        }
        Ok(Self(answers))
    }

    /// What attempt number `attempt` of the step's occurrence number `occurrence` comes to (both from 1). `None`: what it
    /// really comes to.
    pub fn answer(&mut self, step: &str, occurrence: u32, attempt: u32) -> Option<Answer> {
        let (element, mock) = match self.0.get_mut(step)? {
            Mocks::Every(mock) => (None, mock),
            Mocks::Each(mocks) => {
                let element = occurrence.saturating_sub(1) as usize;
                (Some(element), mocks.get_mut(element)?.as_mut()?)
            }
        };
        mock.used = true;
        match &mock.fail {
            Some(failure) if attempt <= mock.times => Some(Answer::Fail(failure.clone())),
            _ => mock.result.then_some(Answer::Result(element)),
        }
    }

    /// Mocks that have answered nothing, in words.
    pub fn unused(&self) -> Vec<String> {
        let mut unused = Vec::new();
        for (step, mocks) in &self.0 {
            match mocks {
                Mocks::Every(mock) if mock.used => {}
                Mocks::Every(_) => unused.push(format!("mock of step \"{step}\"")),
                Mocks::Each(mocks) => {
                    for (number, _) in mocks
                        .iter()
                        .enumerate()
                        .filter(|(_, mock)| mock.as_ref().is_some_and(|mock| !mock.used))
                    {
                        unused.push(format!("mock {} of step \"{step}\"", number + 1));
                    }
                }
            }
        }
        unused
    }
}

impl Mock {
    fn from_json(value: &Value, durations: Durations) -> Result<Self, OptionError> {
        let mut fields = Fields::of("mock", value, durations)?;
        // A result of null is one.
        let result = value.get("result").is_some();
        fields.take("result");
        let fail = fields
            .take("fail")
            .map(|fail| Failure::from_json(&fail, durations))
            .transpose()?;
        let times = fields.integer("times", 1, i64::from(i32::MAX))?;
        if fail.is_none() && times.is_some() {
            return Err(fields.wrong("times", "given together with \"fail\""));
        }
        fields.finish()?;
        if fail.is_none() && !result {
            return Err(OptionError::Empty { what: "mock" });
        }
        Ok(Self {
            fail,
            times: times.map_or(u32::MAX, |times| times as u32),
            result,
            used: false,
        })
    }
}

impl Failure {
    fn from_json(value: &Value, durations: Durations) -> Result<Self, OptionError> {
        let mut fields = Fields::of("fail", value, durations)?;
        let failure = Self {
            sqlstate: fields
                .text("sqlstate", "the SQLSTATE of an error, such as \"40001\"", is_error)?
                .unwrap_or_else(|| "P0001".to_owned()),
            message: fields
                .text("message", "a text", |_| true)?
                .unwrap_or_else(|| "mocked failure".to_owned()),
            detail: fields.text("detail", "a text", |_| true)?,
            hint: fields.text("hint", "a text", |_| true)?,
        };
        fields.finish()?;
        Ok(failure)
    }
}

/// What a step can fail with: no success, no warning, and no cancel (57014), which would be one of the rehearsal itself.
fn is_error(code: &str) -> bool {
    sqlstate::is_pattern(code) && !code.ends_with('*') && !["00", "01", "02"].contains(&&code[..2]) && code != "57014"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn days(text: &str) -> Option<i64> {
        text.strip_suffix(" d")?.parse().ok()
    }

    fn answers(value: Value) -> Answers {
        Answers::from_json(&value, &days).unwrap()
    }

    fn failure(code: &str) -> Option<Answer> {
        Some(Answer::Fail(Failure {
            sqlstate: code.to_owned(),
            message: "mocked failure".to_owned(),
            detail: None,
            hint: None,
        }))
    }

    #[test]
    fn signals_have_names() {
        let script =
            json!([{"name": "a"}, {"name": "b", "after": "2 d", "payload": {"x": [1]}}, {"name": "a", "after": null}]);
        assert_eq!(signals(&script, &days), Ok(["a", "b", "a"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_mock_answers_every_occurrence() {
        let mut mocks = answers(json!({"a": {"result": null}, "b": {"fail": {"sqlstate": "40001"}}}));
        assert_eq!(mocks.answer("a", 1, 1), Some(Answer::Result(None)));
        assert_eq!(mocks.answer("a", 7, 1), Some(Answer::Result(None)));
        assert_eq!(mocks.answer("b", 1, 9), failure("40001"));
        assert_eq!(mocks.answer("c", 1, 1), None);
    }

    #[test]
    fn the_first_attempts_fail_and_then_it_is_run_or_answered() {
        let mut mocks =
            answers(json!({"run": {"fail": {}, "times": 2}, "answered": {"fail": {}, "times": 1, "result": 5}}));
        assert_eq!(mocks.answer("run", 1, 2), failure("P0001"));
        assert_eq!(mocks.answer("run", 1, 3), None);
        assert_eq!(mocks.answer("run", 2, 1), failure("P0001"));
        assert_eq!(mocks.answer("answered", 1, 1), failure("P0001"));
        assert_eq!(mocks.answer("answered", 1, 2), Some(Answer::Result(None)));
    }

    #[test]
    fn an_array_has_one_for_each_occurrence() {
        let mut mocks = answers(json!({"a": [{"result": 1}, null, {"fail": {}}]}));
        assert_eq!(mocks.answer("a", 1, 1), Some(Answer::Result(Some(0))));
        assert_eq!(mocks.answer("a", 2, 1), None);
        assert_eq!(mocks.answer("a", 3, 1), failure("P0001"));
        assert_eq!(mocks.answer("a", 4, 1), None);
    }

    #[test]
    fn what_was_not_used_is_named() {
        let mut mocks =
            answers(json!({"a": {"result": 1}, "b": {"result": 1}, "c": [{"result": 1}, null, {"result": 3}]}));
        mocks.answer("b", 1, 1);
        mocks.answer("c", 1, 1);
        assert_eq!(mocks.unused(), ["mock of step \"a\"", "mock 3 of step \"c\""]);
    }

    #[test]
    fn mistakes_are_refused_with_their_place() {
        for (value, place, words) in [
            (json!([]), None, "mocks must be a JSON object"),
            (
                json!({"a": 1}),
                Some("the mock of step \"a\""),
                "mock must be a JSON object",
            ),
            (json!({"a": {}}), Some("the mock of step \"a\""), "mock says nothing"),
            (
                json!({"a": {"reslt": 1}}),
                Some("the mock of step \"a\""),
                "unknown key \"reslt\" in mock",
            ),
            (
                json!({"a": {"result": 1, "x": 1}}),
                Some("the mock of step \"a\""),
                "unknown key \"x\" in mock",
            ),
            (
                json!({"a": [null, {"times": 1}]}),
                Some("mock 2 of step \"a\""),
                "\"times\" in mock must be given together",
            ),
            (
                json!({"a": {"result": 1, "times": 1}}),
                Some("the mock of step \"a\""),
                "\"times\" in mock must be given together",
            ),
            (
                json!({"a": {"fail": {}, "times": 0}}),
                Some("the mock of step \"a\""),
                "\"times\" in mock must be a whole number",
            ),
            (
                json!({"a": {"fail": 1}}),
                Some("the mock of step \"a\""),
                "fail must be a JSON object",
            ),
            (
                json!({"a": {"fail": {"code": 1}}}),
                Some("the mock of step \"a\""),
                "unknown key \"code\" in fail",
            ),
            (
                json!({"a": {"fail": {"sqlstate": "40*"}}}),
                Some("the mock of step \"a\""),
                "\"sqlstate\" in fail must be the SQLSTATE",
            ),
            (
                json!({"a": {"fail": {"sqlstate": "00000"}}}),
                Some("the mock of step \"a\""),
                "\"sqlstate\" in fail must be the SQLSTATE",
            ),
            (
                json!({"a": {"fail": {"sqlstate": "57014"}}}),
                Some("the mock of step \"a\""),
                "\"sqlstate\" in fail must be the SQLSTATE",
            ),
            (
                json!({"a": {"fail": {"message": 1}}}),
                Some("the mock of step \"a\""),
                "\"message\" in fail must be a text",
            ),
        ] {
            let error = Answers::from_json(&value, &days).unwrap_err();
            assert_eq!(error.place.as_deref(), place, "{value}");
            assert!(error.to_string().starts_with(words), "{value}: {error}");
        }
        for (value, place, words) in [
            (json!({}), None, "signals must be a JSON array"),
            (json!([1]), Some("signal 1"), "signal must be a JSON object"),
            (
                json!([{"name": "a"}, {}]),
                Some("signal 2"),
                "\"name\" in signal must be given",
            ),
            (
                json!([{"name": ""}]),
                Some("signal 1"),
                "\"name\" in signal must be a text",
            ),
            (
                json!([{"name": "a", "after": "soon"}]),
                Some("signal 1"),
                "\"after\" in signal must be an interval",
            ),
            (
                json!([{"name": "a", "after": "-1 d"}]),
                Some("signal 1"),
                "\"after\" in signal must be an interval",
            ),
            (
                json!([{"name": "a", "paylod": 1}]),
                Some("signal 1"),
                "unknown key \"paylod\" in signal",
            ),
        ] {
            let error = signals(&value, &days).unwrap_err();
            assert_eq!(error.place.as_deref(), place, "{value}");
            assert!(error.to_string().starts_with(words), "{value}: {error}");
        }
    }
}
