//! What the text of a schedule says about its times.

use std::ffi::CString;

use pg_workflow_core::lexer;
use pg_workflow_core::schedule::{self, Schedule as Plan, Zone};

use crate::engine::schedule::EPOCH;
use crate::error::Error;
use crate::hub::slots;
use crate::pg::errdata::QUERY_CANCELED;
use crate::pg::spi::{self, types};
use crate::pg::value::{timestamp_from_json, timestamp_json};
use crate::pg::{Datum, Interval, Oid, PgError, Timestamp, guard, interrupt, process, scope, txn};
use crate::store::schedules::Schedule;

/// What intervals count from that do not say it: a Monday, and the first of a month and a year.
const ANCHOR: &str = "2001-01-01 00:00";

/// Time that a query for the next time may take in an executor, in microseconds.
const PATIENCE: i64 = 5_000_000;

/// Times, read from a text.
pub(super) struct Times {
    plan: Source,
    zone: String,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    /// As whom an executor asks the query; `None`: the session is the owner's.
    owner: Option<(Oid, String)>,
}

enum Source {
    Plan(Plan, Zone),
    Query(String),
}

/// What a text was read as.
pub(super) struct Reading {
    /// The text, with points in time as they were understood.
    pub(super) text: String,
    /// Name of the zone as the time zone database spells it.
    pub(super) zone: String,
    pub(super) remarks: Vec<String>,
    source: Source,
}

/// Reads a text: a cron expression, an interval, a point in time, or a query.
pub(super) fn read(text: &str, zone: &str) -> Result<Reading, Error> {
    const LIMIT: usize = 100_000;
    if text.len() > LIMIT {
        return Err(Error::TooLong {
            name: "schedule",
            bytes: text.len(),
            limit: LIMIT,
        });
    }
    let parsed = Zone::parse(zone).map_err(|_| Error::UnknownZone(zone.to_owned()))?;
    let zone = parsed.name().to_owned();
    let text = text.trim();
    let reading = |text: String, plan: Plan, remarks: Vec<String>| Reading {
        text,
        zone: zone.clone(),
        remarks,
        source: Source::Plan(plan, parsed.clone()),
    };
    let wrong = |detail: String| Error::WrongSchedule {
        text: text.to_owned(),
        detail,
    };
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    match word.to_ascii_lowercase().as_str() {
        "every" => every(rest, &zone)
            .map(|(text, plan)| reading(text, plan, Vec::new()))
            .map_err(wrong),
        "at" => at(rest, &zone)
            .map(|(text, plan)| reading(text, plan, Vec::new()))
            .map_err(wrong),
        _ if is_query(text) => {
            if spi::count_statements(text) != 1 {
                return Err(wrong("It is more than one statement.".to_owned()));
            }
            Ok(Reading {
                text: text.to_owned(),
                zone,
                remarks: Vec::new(),
                source: Source::Query(text.to_owned()),
            })
        }
        _ => match schedule::parse(text) {
            Ok(parsed) => {
                let remarks = parsed.remarks.iter().map(ToString::to_string).collect();
                // As the scheduler looks for it when it starts.
                let text = if parsed.schedule == Plan::Reboot {
                    "@reboot"
                } else {
                    text
                };
                Ok(reading(text.to_owned(), parsed.schedule, remarks))
            }
            // Without the word before it.
            Err(error) => {
                let date = text.get(4..5) == Some("-") && text.starts_with(|c: char| c.is_ascii_digit());
                let length = text.contains(char::is_alphabetic);
                let bare = if date {
                    at(text, &zone)
                } else if length {
                    every(text, &zone)
                } else {
                    Err(String::new())
                };
                bare.map(|(text, plan)| reading(text, plan, Vec::new()))
                    .map_err(|_| wrong(error.to_string()))
            }
        },
    }
}

fn is_query(text: &str) -> bool {
    let first = lexer::tokens(text).into_iter().next().map(|token| token.text);
    first.is_some_and(|word| ["select", "with", "values", "table", "("].contains(&word.as_str()))
}

/// `15 minutes [from 2026-01-01 00:07]`
fn every(text: &str, zone: &str) -> Result<(String, Plan), String> {
    let (length, from) = match text.to_ascii_lowercase().find(" from ") {
        Some(at) => (text[..at].trim(), Some(text[at + " from ".len()..].trim())),
        None => (text.trim(), None),
    };
    let one = if length.starts_with(char::is_alphabetic) {
        "1 "
    } else {
        ""
    };
    let (months, days, micros) = Interval::parse(&format!("{one}{length}"))
        .ok_or_else(|| format!("\"{length}\" is no interval."))?
        .parts();
    if months < 0 || days < 0 || micros < 0 {
        return Err("The interval is negative.".to_owned());
    }
    if months == 0 && days == 0 && micros < 1_000_000 {
        return Err("The interval is shorter than a second.".to_owned());
    }
    let (anchor, said) = match from {
        Some(from) => {
            let anchor = moment(from, zone)?;
            (anchor, format!(" from {}", spelled(anchor, zone)))
        }
        None => (moment(ANCHOR, zone)?, String::new()),
    };
    let plan = Plan::Every {
        months,
        days,
        micros,
        anchor: anchor + EPOCH,
    };
    Ok((format!("every {length}{said}"), plan))
}

/// `2026-12-24 18:00`
fn at(text: &str, zone: &str) -> Result<(String, Plan), String> {
    let at = moment(text, zone)?;
    Ok((format!("at {}", spelled(at, zone)), Plan::Once(at + EPOCH)))
}

fn in_zone<T>(zone: &str, f: impl FnOnce() -> T) -> T {
    let zone = CString::new(zone).unwrap_or_default();
    scope::with_settings(&[(c"timezone", &zone)], f)
}

fn moment(text: &str, zone: &str) -> Result<Timestamp, String> {
    let read = in_zone(zone, || guard::catch(|| timestamp_from_json(&text.into())));
    match read {
        Ok(Some(at)) if at > Timestamp::MIN && at < Timestamp::MAX - EPOCH => Ok(at),
        _ => Err(format!("\"{text}\" is no point in time.")),
    }
}

/// A point in time on the clock of a zone, with its offset.
fn spelled(at: Timestamp, zone: &str) -> String {
    let json = in_zone(zone, || timestamp_json(at));
    json.to_value().as_str().unwrap_or_default().to_owned()
}

impl Times {
    /// The times that a schedule's text says, within its bounds.
    pub(super) fn new(reading: Reading, starts_at: Option<Timestamp>, ends_at: Option<Timestamp>) -> Self {
        Self {
            plan: reading.source,
            zone: reading.zone,
            starts_at,
            ends_at,
            owner: None,
        }
    }

    /// Of a row, for an executor.
    pub(super) fn of(row: &Schedule) -> Result<Self, Error> {
        let reading = read(&row.schedule, &row.time_zone)?;
        let owner = Some((row.owner, row.search_path.clone()));
        Ok(Self {
            owner,
            ..Self::new(reading, row.starts_at, row.ends_at)
        })
    }

    /// The time is the start of the server, which cannot be known beforehand.
    pub(super) fn is_reboot(&self) -> bool {
        matches!(self.plan, Source::Plan(Plan::Reboot, _))
    }

    /// They come from a query of the owner's.
    pub(super) fn is_query(&self) -> bool {
        matches!(self.plan, Source::Query(_))
    }

    /// The first time after `after`; `None`: never, as far as is known.
    ///
    /// # Errors
    /// Those of a query.
    pub(super) fn next(&self, after: Timestamp) -> Result<Option<Timestamp>, PgError> {
        let after = self.starts_at.map_or(after, |start| after.max(start - 1));
        let next = match &self.plan {
            Source::Plan(Plan::Reboot, _) => Some(process::server_started()).filter(|at| *at > after),
            Source::Plan(plan, zone) => plan.next(after.saturating_add(EPOCH), zone).map(|at| at - EPOCH),
            Source::Query(sql) => self.ask(sql, after)?,
        };
        Ok(next.filter(|next| self.ends_at.is_none_or(|end| *next <= end)))
    }

    /// Asks the query, which may read and not write. `$1` in it is the time behind which the next is wanted.
    fn ask(&self, sql: &str, after: Timestamp) -> Result<Option<Timestamp>, PgError> {
        let sql = format!(
            "SELECT pg_catalog.min(q.t) FROM (SELECT c.t::pg_catalog.timestamptz AS t FROM (\n{sql}\n) AS c(t)) AS q \
             WHERE q.t OPERATOR(pg_catalog.>) $1"
        );
        let ask = || {
            txn::trial(|| {
                txn::set_read_only();
                in_zone(&self.zone, || {
                    let output = spi::run_text(&sql, &[types::TIMESTAMPTZ], &[Some(Datum::from(after))]);
                    let next = output.row_datums(0).pop().flatten().map(|at| at.value() as Timestamp);
                    output.free();
                    Ok(next.filter(|at| *at < Timestamp::MAX))
                })
            })
        };
        let Some((owner, search_path)) = &self.owner else {
            return ask();
        };
        let (next, fired) = scope::as_owner(*owner, search_path, || {
            interrupt::arm(PATIENCE);
            let next = ask();
            (next, interrupt::disarm())
        });
        match next {
            Err(error) if error.sqlstate == QUERY_CANCELED && fired => {
                let message = format!("the query has taken longer than {} s", PATIENCE / 1_000_000);
                Err(PgError::new(QUERY_CANCELED, message))
            }
            Err(error) if error.sqlstate == QUERY_CANCELED && slots::stops_here() => guard::throw(error),
            next => next,
        }
    }

    /// A time as the clock of the schedule's zone shows it.
    pub(super) fn local(&self, at: Timestamp) -> String {
        in_zone(&self.zone, || crate::pg::value::timestamp_text(at))
    }
}
