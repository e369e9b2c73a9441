//! JSON objects of options: read by key, with errors that name the key, and no key left unread.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::policy::RetryPolicy;

/// What is wrong with an object of options.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OptionError {
    #[error("{what} must be a JSON object")]
    NotAnObject { what: &'static str },
    #[error("{what} must be a JSON array")]
    NotAnArray { what: &'static str },
    #[error("{what} says nothing")]
    Empty { what: &'static str },
    #[error("unknown key \"{key}\" in {what}")]
    Unknown {
        what: &'static str,
        key: String,
        known: Vec<&'static str>,
    },
    #[error("\"{key}\" in {what} must be {expected}")]
    Wrong {
        what: &'static str,
        key: &'static str,
        expected: String,
    },
}

/// The keys of one object, taken out one by one.
pub(crate) struct Fields<'a> {
    what: &'static str,
    rest: Map<String, Value>,
    known: Vec<&'static str>,
    parse_duration: &'a dyn Fn(&str) -> Option<i64>,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(
        what: &'static str,
        value: &Value,
        parse_duration: &'a dyn Fn(&str) -> Option<i64>,
    ) -> Result<Self, OptionError> {
        let rest = value.as_object().cloned().ok_or(OptionError::NotAnObject { what })?;
        Ok(Self {
            what,
            rest,
            known: Vec::new(),
            parse_duration,
        })
    }

    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.rest.remove(key).filter(|value| !value.is_null())
    }

    pub(crate) fn wrong(&self, key: &'static str, expected: impl Into<String>) -> OptionError {
        OptionError::Wrong {
            what: self.what,
            key,
            expected: expected.into(),
        }
    }

    pub(crate) fn integer(&mut self, key: &'static str, min: i64, max: i64) -> Result<Option<i64>, OptionError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value.as_i64().filter(|n| (min..=max).contains(n)) {
            Some(n) => Ok(Some(n)),
            None => Err(self.wrong(key, format!("a whole number from {min} to {max}"))),
        }
    }

    pub(crate) fn number(&mut self, key: &'static str, min: f64, max: f64) -> Result<Option<f64>, OptionError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value.as_f64().filter(|n| (min..=max).contains(n)) {
            Some(n) => Ok(Some(n)),
            None => Err(self.wrong(key, format!("a number from {min} to {max}"))),
        }
    }

    fn read_duration(&self, value: &Value) -> Option<i64> {
        value.as_str().and_then(self.parse_duration)
    }

    /// A duration that is not negative, in microseconds.
    pub(crate) fn duration(&mut self, key: &'static str) -> Result<Option<i64>, OptionError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        self.read_duration(&value)
            .filter(|micros| *micros >= 0)
            .map(Some)
            .ok_or_else(|| self.wrong(key, "an interval such as \"10 s\", not negative"))
    }

    /// A duration above zero, in microseconds.
    pub(crate) fn positive_duration(&mut self, key: &'static str) -> Result<Option<i64>, OptionError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        self.read_duration(&value)
            .filter(|micros| *micros > 0)
            .map(Some)
            .ok_or_else(|| self.wrong(key, "a positive interval such as \"10 s\""))
    }

    pub(crate) fn text(
        &mut self,
        key: &'static str,
        expected: &str,
        valid: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, OptionError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value.as_str().filter(|text| valid(text)) {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(self.wrong(key, expected)),
        }
    }

    pub(crate) fn texts(
        &mut self,
        key: &'static str,
        expected: &str,
        valid: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, OptionError> {
        let Some(value) = self.take(key) else {
            return Ok(Vec::new());
        };
        let texts = value.as_array().and_then(|items| {
            items
                .iter()
                .map(|item| item.as_str().filter(|text| valid(text)).map(str::to_owned))
                .collect()
        });
        texts.ok_or_else(|| self.wrong(key, format!("an array of texts, each {expected}")))
    }

    /// Refuses what nobody has asked for.
    pub(crate) fn finish(self) -> Result<(), OptionError> {
        match self.rest.into_iter().next() {
            Some((key, _)) => Err(OptionError::Unknown {
                what: self.what,
                key,
                known: self.known,
            }),
            None => Ok(()),
        }
    }
}

/// Options of a workflow definition: defaults for its instances.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkflowOptions {
    /// Retry policy of steps that name none.
    pub retry: Option<RetryPolicy>,
    /// Time that one attempt of a step may take, in microseconds.
    pub step_timeout: Option<i64>,
    /// Time that all attempts of a step together may take, in microseconds.
    pub step_total_timeout: Option<i64>,
    /// Time until a run must have begun, in microseconds.
    pub start_timeout: Option<i64>,
    /// Time that a whole run may take, in microseconds.
    pub timeout: Option<i64>,
    /// Lower numbers go first.
    pub priority: Option<i16>,
}

impl WorkflowOptions {
    /// Reads options from JSON; see [`RetryPolicy::from_json`].
    ///
    /// # Errors
    /// Unknown keys, wrong types and values out of range, named by key.
    pub fn from_json(value: &Value, duration: &dyn Fn(&str) -> Option<i64>) -> Result<Self, OptionError> {
        let mut fields = Fields::of("options", value, duration)?;
        let retry = fields.take("retry");
        let options = Self {
            retry: retry
                .map(|value| RetryPolicy::from_json(&value, duration))
                .transpose()?,
            step_timeout: fields.positive_duration("step_timeout")?,
            step_total_timeout: fields.positive_duration("step_total_timeout")?,
            start_timeout: fields.positive_duration("start_timeout")?,
            timeout: fields.positive_duration("timeout")?,
            priority: fields.integer("priority", -1000, 1000)?.map(|n| n as i16),
        };
        fields.finish()?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_are_read_and_strangers_refused() {
        let minutes = |text: &str| text.strip_suffix(" min")?.parse::<i64>().ok().map(|n| n * 60_000_000);
        let read = |value: Value| WorkflowOptions::from_json(&value, &minutes);
        let options = read(json!({"timeout": "2 min", "start_timeout": "1 min", "step_total_timeout": "3 min", "priority": -5, "retry": {"max_attempts": 1}})).unwrap();
        assert_eq!(options.timeout, Some(120_000_000));
        assert_eq!(options.start_timeout, Some(60_000_000));
        assert_eq!(options.step_total_timeout, Some(180_000_000));
        assert_eq!(options.priority, Some(-5));
        assert_eq!(options.retry.unwrap().max_attempts, 1);
        assert_eq!(read(json!({})).unwrap(), WorkflowOptions::default());
        assert!(
            matches!(read(json!({"timeouts": 1})), Err(OptionError::Unknown { known, .. }) if known.contains(&"timeout"))
        );
        assert!(read(json!({"priority": 100_000})).is_err());
        assert!(read(json!({"timeout": "0 min"})).is_err());
    }
}
