//! The grammar of pg_cron's schedules, its leniency included.

use super::{Cron, Error, Parsed, Remark, Schedule};

/// A field of a cron expression.
struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const MINUTE: Field = Field {
    name: "minute",
    low: 0,
    high: 59,
    names: &[],
};
const HOUR: Field = Field {
    name: "hour",
    low: 0,
    high: 23,
    names: &[],
};
const DAY: Field = Field {
    name: "day of month",
    low: 1,
    high: 31,
    names: &[],
};
const MONTH: Field = Field {
    name: "month",
    low: 1,
    high: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
const WEEKDAY: Field = Field {
    name: "day of week",
    low: 0,
    high: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

/// `N seconds`; None: something else.
pub(super) fn seconds(text: &str) -> Result<Option<u32>, Error> {
    let text = text.trim_start().to_ascii_lowercase();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = &text[..text.len() - unit.len()];
    let is_unit = match unit.trim_start().strip_prefix("second") {
        Some("") => true,
        // Blanks behind are read over as sscanf does: behind the plural only.
        Some(rest) => rest.strip_prefix('s').is_some_and(|rest| rest.trim_start().is_empty()),
        None => false,
    };
    if number.is_empty() || !is_unit {
        return Ok(None);
    }
    match number.parse() {
        Ok(n @ 1..60) => Ok(Some(n)),
        _ => Err(Error::Seconds),
    }
}

/// Five fields or `@...`, behind blanks, empty lines and lines of comment.
pub(super) fn cron(text: &str) -> Result<Parsed, Error> {
    let mut text = text;
    loop {
        text = text.trim_start_matches([' ', '\t']);
        match text.chars().next() {
            Some('\n') => text = &text[1..],
            Some('#') => text = text.split_once('\n').map_or("", |(_, rest)| rest),
            _ => break,
        }
    }
    if let Some(rest) = text.strip_prefix('@') {
        return shorthand(rest);
    }
    let mut reader = Reader {
        rest: text,
        whole: "",
        remarks: Vec::new(),
    };
    let any_minute = reader.sees('*');
    let minutes = reader.field(&MINUTE)?;
    let any_hour = reader.sees('*');
    let hours = reader.field(&HOUR)? as u32;
    let any_day = reader.sees('*');
    let last_day = reader.sees('$');
    let days = if last_day {
        reader.last_day()?;
        0
    } else {
        reader.field(&DAY)? as u32
    };
    let months = reader.field(&MONTH)? as u16;
    let any_weekday = reader.sees('*');
    let weekdays = reader.field(&WEEKDAY)? as u8;
    reader.end();
    Ok(Parsed {
        schedule: Schedule::Cron(Cron {
            minutes,
            hours,
            days,
            last_day,
            months,
            weekdays: both_sundays(weekdays),
            any_minute,
            any_hour,
            any_day,
            any_weekday,
        }),
        remarks: reader.remarks,
    })
}

/// What stands behind the `@`.
fn shorthand(text: &str) -> Result<Parsed, Error> {
    let (name, behind) = match text.find([' ', '\t', '\n']) {
        Some(end) => text.split_at(end),
        None => (text, ""),
    };
    let fields = match name {
        "hourly" => "0 * * * *",
        "daily" | "midnight" => "0 0 * * *",
        "weekly" => "0 0 * * 0",
        "monthly" => "0 0 1 * *",
        // In pg_cron these two never fire: it asks for a month 0.
        "yearly" | "annually" => "0 0 1 1 *",
        "reboot" | "restart" => "",
        _ => return Err(Error::Shorthand(name.to_owned())),
    };
    let mut parsed = match fields {
        "" => Parsed {
            schedule: Schedule::Reboot,
            remarks: Vec::new(),
        },
        fields => cron(fields)?,
    };
    parsed.remarks.extend(behind_it(behind));
    Ok(parsed)
}

fn both_sundays(weekdays: u8) -> u8 {
    if weekdays & 0x81 != 0 {
        weekdays | 0x81
    } else {
        weekdays
    }
}

fn behind_it(text: &str) -> Option<Remark> {
    let text = text.trim();
    (!text.is_empty()).then(|| Remark::Behind(text.to_owned()))
}

struct Reader<'t> {
    rest: &'t str,
    /// The field that is being read.
    whole: &'t str,
    remarks: Vec<Remark>,
}

impl<'t> Reader<'t> {
    fn sees(&self, c: char) -> bool {
        self.rest.starts_with(c)
    }

    fn take(&mut self, c: char) -> bool {
        let seen = self.sees(c);
        if seen {
            self.rest = &self.rest[c.len_utf8()..];
        }
        seen
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// A list of ranges as a set of bits. Whatever stands between them and the next blank is skipped.
    fn field(&mut self, field: &Field) -> Result<u64, Error> {
        if self.rest.is_empty() || self.sees('\n') {
            return Err(Error::Missing(field.name));
        }
        self.whole = self.rest.split([' ', '\t', '\n']).next().unwrap_or_default();
        let mut set = 0;
        loop {
            set |= self.range(field)?;
            if !self.take(',') {
                break;
            }
        }
        let end = self.rest.find([' ', '\t', '\n']).unwrap_or(self.rest.len());
        if end > 0 {
            self.remarks
                .push(Remark::Ignored(self.rest[..end].to_owned(), field.name));
        }
        self.rest = &self.rest[end..];
        self.skip_blanks();
        Ok(set)
    }

    /// `*`, a value, or `from-to`, and behind the first and the last of these `/step`.
    fn range(&mut self, field: &Field) -> Result<u64, Error> {
        let begin = self.rest;
        let (from, to) = if self.take('*') {
            (field.low, field.high)
        } else {
            let from = self.value(field)?;
            if !self.take('-') {
                return match self.sees('/') {
                    true => Err(Error::StepWithoutRange {
                        text: from.to_string(),
                        high: field.high,
                    }),
                    false => Ok(1 << from),
                };
            }
            (from, self.value(field)?)
        };
        let written = &begin[..begin.len() - self.rest.len()];
        let step = if self.take('/') { Some(self.step(field)?) } else { None };
        if from > to {
            self.remarks.push(Remark::Backwards(written.to_owned()));
            return Ok(if step.unwrap_or(1) == 1 {
                backwards(field, from, to)
            } else {
                0
            });
        }
        Ok((from..=to).step_by(step.unwrap_or(1)).fold(0, |set, n| set | 1 << n))
    }

    fn word(&mut self) -> &'t str {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn value(&mut self, field: &Field) -> Result<u32, Error> {
        let whole = self.whole;
        let word = self.word();
        if let Some(at) = field.names.iter().position(|name| name.eq_ignore_ascii_case(word)) {
            return Ok(field.low + at as u32);
        }
        if word.is_empty() || !word.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Error::Unreadable {
                field: field.name,
                text: whole.to_owned(),
            });
        }
        match word.parse() {
            Ok(n) if (field.low..=field.high).contains(&n) => Ok(n),
            _ => Err(Error::OutOfRange {
                field: field.name,
                text: word.to_owned(),
                low: field.low,
                high: field.high,
            }),
        }
    }

    fn step(&mut self, field: &Field) -> Result<usize, Error> {
        let word = self.word();
        match word.parse() {
            Ok(n) if (1..=field.high as usize).contains(&n) => Ok(n),
            _ => Err(Error::Step {
                field: field.name,
                text: word.to_owned(),
                high: field.high,
            }),
        }
    }

    fn last_day(&mut self) -> Result<(), Error> {
        self.take('$');
        if !self.sees(' ') && !self.sees('\t') {
            return Err(Error::LastDay);
        }
        self.skip_blanks();
        Ok(())
    }

    fn end(&mut self) {
        self.remarks.extend(behind_it(self.rest));
    }
}

/// What pg_cron makes of a range that runs backwards: it fills a set of bytes from bit to bit, and so meets the end of the
/// first byte and the beginning of the last one; within one byte, nothing.
fn backwards(field: &Field, from: u32, to: u32) -> u64 {
    let (from, to) = (from - field.low, to - field.low);
    if from / 8 == to / 8 {
        return 0;
    }
    let filled =
        (0..=field.high - field.low).filter(|&i| (i >= from && i / 8 == from / 8) || (i <= to && i / 8 == to / 8));
    filled.fold(0, |set, i| set | 1 << (i + field.low))
}
