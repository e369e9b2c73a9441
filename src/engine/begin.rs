//! Calls that are begun without waiting (`wf_begin`) and waited for later (`wf_await`).
//!
//! Beginning notes an entry that is open, and does not unwind: a thousand calls are begun in one passage. They are launched
//! when the entry is written, in the same transaction. A handle is the entry's number in the history.

use crate::engine::ask::Ask;
use crate::engine::calls::{StepCall, deliver, with_history};
use crate::engine::child::ChildCall;
use crate::engine::code::Code;
use crate::engine::history::{Answer, History};
use crate::engine::task::TaskCall;
use crate::engine::turn::Turn;
use crate::error::Error;
use crate::pg::{Interval, Json, PgError, Timestamp, clock};
use crate::store::steps::{Kind, StepStatus};

/// What `wf_begin` begins.
pub(crate) enum Begun {
    Step(StepCall),
    Child(ChildCall),
    Task(TaskCall),
    Sleep(Timestamp),
    Signal { signal: String, timeout: Option<Interval> },
}

/// Begins a call; returns its handle.
pub(crate) fn begin(name: &str, read: impl FnOnce() -> Result<Begun, Error>, kind: Kind) -> Result<i32, Error> {
    let noted = with_history("wf_begin", |history| {
        history.note(kind, name, |row| {
            row.status = StepStatus::Waiting;
            row.begun = true;
            match read()? {
                Begun::Step(call) => row.request = Some(call.to_request(true)?),
                Begun::Child(call) => row.request = Some(call.to_request()?),
                Begun::Task(call) => row.request = Some(call.to_request()?),
                Begun::Sleep(due) => row.due_at = Some(due),
                Begun::Signal { signal, timeout } => {
                    let signal = serde_json::Value::from(signal).to_string();
                    row.request = Some(Json::object(&[("signal", Some(signal))]));
                    row.due_at = timeout.map(|timeout| timeout.after(clock()));
                }
            }
            Ok(())
        })
    })?;
    // The unwinding may be a soft one, which returns.
    noted.or_else(|unwind| deliver(unwind).map(|_| 0))
}

/// Waits for one begun call; returns its result.
///
/// # Errors
/// Unwinds with the call's own error if it has failed, and with WF004 when the timeout has passed.
pub(crate) fn await_one(handle: i32, timeout: Option<Interval>) -> Result<Option<Json>, Error> {
    let done = with_history("wf_await", |history| {
        Ok(match history.awaited(&handle.to_string(), &[handle], 1, timeout)? {
            Ok(done) if done.is_empty() => Err(Answer::Raise(Error::AwaitTimeout(history.describe(handle)).into())),
            Ok(_) => Ok(history.outcome(handle)),
            Err(unwind) => Err(unwind),
        })
    })?;
    match done {
        Ok(outcome) => Ok(outcome?),
        Err(answer) => deliver(answer),
    }
}

/// Waits until `first` of the begun calls are done; returns what those that are have come to, as an array of objects in
/// the order of the handles.
pub(crate) fn await_many(
    handles: &[i32],
    first: Option<i32>,
    timeout: Option<Interval>,
) -> Result<Option<Json>, Error> {
    let first = match first {
        None => handles.len(),
        Some(first) if first >= 1 && first as usize <= handles.len() => first as usize,
        Some(_) => {
            return Err(Error::WrongArgument {
                name: "first",
                expected: "from 1 to the number of handles".to_owned(),
            });
        }
    };
    if handles.is_empty() {
        return Ok(Some(Json::parse("[]")));
    }
    let name = await_name(handles);
    let done = with_history("wf_await", |history| {
        let done = history.awaited(&name, handles, first, timeout)?;
        Ok(done.map(|done| outcomes(history, &done)))
    })?;
    match done {
        Ok(outcomes) => Ok(Some(outcomes)),
        Err(answer) => deliver(answer),
    }
}

/// The name under which a wait for several calls is recorded: the same for the same handles.
fn await_name(handles: &[i32]) -> String {
    const SHOWN: usize = 8;
    let list = |handles: &[i32]| handles.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
    if handles.len() <= SHOWN {
        return list(handles);
    }
    // FNV-1a: tells lists with the same beginning apart, and is the same in every process.
    let digest = handles
        .iter()
        .flat_map(|handle| handle.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
    format!(
        "{}, ... ({} in all, {digest:016x})",
        list(&handles[..SHOWN]),
        handles.len()
    )
}

fn outcomes(history: &History, done: &[i32]) -> Json {
    let items = done.iter().map(|handle| {
        let (name, outcome) = (history.name_of(*handle), history.outcome(*handle));
        let ok = outcome.is_ok();
        let (result, error) = match outcome {
            Ok(result) => (
                Some(result.map_or_else(|| "null".to_owned(), |json| json.to_text())),
                None,
            ),
            Err(error) => (None, Some(error.to_json().to_string())),
        };
        let fields = [
            ("handle", Some(handle.to_string())),
            ("name", Some(serde_json::Value::from(name).to_string())),
            ("ok", Some(ok.to_string())),
            ("result", result),
            ("error", error),
        ];
        Json::object(&fields).to_text()
    });
    Json::parse(&format!("[{}]", items.collect::<Vec<_>>().join(",")))
}

impl Turn {
    /// Writes what was noted since the last entry that was written, and launches what was begun with it.
    pub(super) fn write_down(&mut self, code: &Code, history: &mut History, now: Timestamp) {
        let written = history.flush(now);
        self.wrote |= !written.is_empty();
        for position in written {
            if history.row(position).begun {
                self.launch(code, history, position, now);
            }
        }
    }

    /// Settles an entry whose call could not be launched; true if it could not.
    pub(super) fn refused<E: Into<PgError>>(
        &self,
        history: &mut History,
        position: usize,
        launched: Result<(), E>,
        now: Timestamp,
    ) -> bool {
        let Err(error) = launched else { return false };
        let error: PgError = error.into();
        history.settle(position, now, |row| {
            row.status = StepStatus::Failed;
            row.error = Some(Json::from_value(&error.to_json()));
        });
        true
    }

    fn launch(&mut self, code: &Code, history: &mut History, position: usize, now: Timestamp) {
        let row = history.row(position);
        let (n, due) = (row.n, row.due_at);
        match row.kind {
            Kind::Step => {
                let request = row.request.clone();
                let launched = self.launch_branch(request.as_ref(), n, now);
                self.refused(history, position, launched, now);
            }
            Kind::Child => {
                let started = self.start_child(code, history, position);
                self.refused(history, position, started, now);
            }
            Kind::Task => {
                let launched = self.launch_task(history, position, now);
                self.refused(history, position, launched, now);
            }
            Kind::Signal => {
                let name = history.signal_name(position);
                // One that is there already: nobody will tell.
                if let Some((payload, _)) = history.take_signal(&name, n, now) {
                    history.settle(position, now, |row| {
                        row.status = StepStatus::Completed;
                        row.result = Some(payload);
                        row.due_at = None;
                    });
                } else {
                    self.publish_wait(n, &name, &Ask::default(), due, now);
                    self.set_timer(due, n);
                }
            }
            _ => self.set_timer(due, n),
        }
    }
}
