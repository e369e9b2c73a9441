//! The waits of a turn: sleeps, signals, retries. Begun with a row and a timer, ended by whatever comes first.

use std::collections::BTreeMap;

use crate::engine::ask::Ask;
use crate::engine::code::Code;
use crate::engine::history::History;
use crate::engine::turn::{End, Turn, cancellation};
use crate::engine::{child, map, metrics, seats, task};
use crate::hub::hints;
use crate::pg::value::timestamp_text;
use crate::pg::{Interval, Json, Timestamp, fault};
use crate::store::answers::{self, Answer};
use crate::store::runs::{self, Status};
use crate::store::steps::{Kind, StepRow, StepStatus};
use crate::store::{branches, inbox, tasks, timers, waits};

impl Turn {
    /// Takes what has come in for the open calls and ends the waits that are over. True if the function has reason to go on:
    /// the call that it stands at is answered, or can be tried again.
    pub(super) fn settle_open(&mut self, code: &Code, history: &mut History, now: Timestamp) -> bool {
        self.lingers = self.run.status == Status::Waiting && !history.is_blocked();
        let mut news = false;
        if history.expects_answers() {
            news |= self.take_answers(code, history, now);
        }
        let cancelled = self.cancel.is_some();
        let cancel = self.cancel.clone();
        let run_id = self.run.run_id;
        for position in history.open() {
            let row = history.row(position);
            let (n, kind, begun, due_at, waits) = (
                row.n,
                row.kind,
                row.begun,
                row.due_at,
                row.status == StepStatus::Waiting,
            );
            let due = due_at.is_some_and(|due| due <= now);
            // Children are told, and answer for themselves; what undoes is not to be cancelled.
            let stops = !(begun && kind == Kind::Child || kind == Kind::Compensation);
            let (status, result, error) = if let Some(reason) = cancel.as_ref().filter(|_| stops) {
                if !begun {
                    self.cancel = None;
                }
                (StepStatus::Cancelled, None, Some(cancellation(reason.clone())))
            } else if kind == Kind::Signal
                && let Some(payload) = self.take_for(history, position, now)
            {
                (StepStatus::Completed, Some(payload), None)
            } else if kind == Kind::Await {
                match self.is_awaited(history, position) {
                    Some(done) => (StepStatus::Completed, Some(done), None),
                    None if due => (StepStatus::Completed, Some(self.done_so_far(history, position)), None),
                    None => continue,
                }
            } else if due && waits {
                (StepStatus::Completed, None, None)
            } else {
                news |= due && !begun;
                continue;
            };
            news |= !begun;
            self.wrote = true;
            let default = (kind == Kind::Signal).then(|| waits::end(run_id, n)).flatten();
            history.settle(position, now, |row| {
                row.status = status;
                row.result = result.or(default.filter(|_| status == StepStatus::Completed));
                row.error = error;
                row.due_at = None;
            });
            if let Some(due) = due_at.filter(|_| !due) {
                timers::delete(due, self.run.run_id, n);
            }
            match kind {
                Kind::Task => task::withdraw(self.run.run_id, Some(n), now),
                Kind::Step | Kind::Map => seats::withdraw(history.row(position).request.as_ref(), run_id, n),
                _ => {}
            }
        }
        if cancelled {
            child::cancel_with(&self.run);
        }
        // At its end, the function waits for what it has begun.
        news || cancelled || (self.lingers && history.lingering().is_empty())
    }

    /// Settles the calls that branches and children have answered; true if the function stands at one of them.
    fn take_answers(&mut self, code: &Code, history: &mut History, now: Timestamp) -> bool {
        let mut of_maps: BTreeMap<usize, Vec<Answer>> = BTreeMap::new();
        let mut news = false;
        let answers = answers::take(self.run.run_id);
        fault("answers-taken");
        if self.cancel.is_none() && answers.iter().any(|answer| answer.status == Status::Cancelled.name()) {
            // A branch was interrupted by a cancel of this very run, which is to be told so, and not that a branch has failed.
            self.cancel = inbox::take_cancels(self.run.run_id).into_iter().next();
        }
        for answer in answers {
            let Some(position) = history.open_at(answer.n) else {
                continue;
            };
            self.wrote = true;
            if history.row(position).kind == Kind::Map {
                if self.cancel.is_none() {
                    of_maps.entry(position).or_default().push(answer);
                }
                continue;
            }
            news |= !history.row(position).begun;
            let Answer {
                status, result, error, ..
            } = answer;
            let (result, error, attempt) = match history.row(position).kind {
                Kind::Step => branches::outcome(self.run.run_id, answer.n).unwrap_or((None, None, 1)),
                Kind::Task => (result, error, tasks::attempts(self.run.run_id, answer.n)),
                _ => (result, error, 1),
            };
            history.settle(position, now, |row| {
                row.status = StepStatus::from_name(&status);
                row.result = result;
                row.error = error;
                row.attempt = attempt;
                row.due_at = None;
            });
        }
        for (position, answers) in of_maps {
            news |= self.advance_map(code, history, position, &answers, now);
        }
        news
    }

    /// The calls that are done, if they are as many as an open wait wants.
    fn is_awaited(&self, history: &History, position: usize) -> Option<Json> {
        let (handles, first) = awaited(history.row(position).request.as_ref());
        let done = history.done(&handles);
        (done.len() >= first).then(|| Json::from_value(&done.into()))
    }

    fn done_so_far(&self, history: &History, position: usize) -> Json {
        let (handles, _) = awaited(history.row(position).request.as_ref());
        Json::from_value(&history.done(&handles).into())
    }

    pub(super) fn begin_await(
        &mut self,
        history: &mut History,
        name: &str,
        handles: &[i32],
        first: usize,
        timeout: Option<Interval>,
        now: Timestamp,
    ) -> Option<End> {
        // What was launched just now may have come to an end at once.
        if history.done(handles).len() >= first {
            return None;
        }
        let request = serde_json::json!({ "handles": handles, "first": first });
        let due = timeout.map(|timeout| timeout.after(now));
        self.begin_open(history, Kind::Await, name, due, Some(Json::from_value(&request)), now)
    }

    /// Starts a child that the function waits for.
    pub(super) fn begin_child(
        &mut self,
        code: &Code,
        history: &mut History,
        name: &str,
        call: Json,
        now: Timestamp,
    ) -> Option<End> {
        let mut row = history.new_row(Kind::Child, name);
        row.status = StepStatus::Waiting;
        row.request = Some(call);
        history.append(row, now, now);
        self.wrote = true;
        let position = history.len() - 1;
        if let Err(error) = self.start_child(code, history, position) {
            history.settle(position, now, |row| {
                row.status = StepStatus::Failed;
                row.error = Some(Json::from_value(&error.to_json()));
            });
            return None;
        }
        Some(self.wait(history))
    }

    pub(super) fn begin_signal(
        &mut self,
        code: &Code,
        history: &mut History,
        name: &str,
        ask: &Ask,
        now: Timestamp,
    ) -> Option<End> {
        if self.take_signal(code, history, name, ask, now) {
            return None;
        }
        let due = ask.timeout.map(|timeout| timeout.after(now));
        let mut row = history.new_row(Kind::Signal, name);
        if due.is_some_and(|due| due <= now) {
            row.result = ask.default.clone();
            history.append(row, now, now);
            self.wrote = true;
            return None;
        }
        self.publish_wait(row.n, name, ask, due, now);
        self.begin_wait(history, Kind::Signal, name, due, now)
    }

    /// Records a signal that is there; false if there is none.
    pub(super) fn take_signal(
        &mut self,
        code: &Code,
        history: &mut History,
        name: &str,
        ask: &Ask,
        now: Timestamp,
    ) -> bool {
        let mut row = history.new_row(Kind::Signal, name);
        let Some(payload) = self.take_fitting(history, name, row.n, now, || ask.schema.clone()) else {
            return false;
        };
        row.result = Some(payload);
        self.write_down(code, history, now);
        history.append(row, now, now);
        fault("signal-taken");
        self.wrote = true;
        true
    }

    pub(super) fn begin_wait(
        &mut self,
        history: &mut History,
        kind: Kind,
        name: &str,
        due: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<End> {
        self.begin_open(history, kind, name, due, None, now)
    }

    fn begin_open(
        &mut self,
        history: &mut History,
        kind: Kind,
        name: &str,
        due: Option<Timestamp>,
        request: Option<Json>,
        now: Timestamp,
    ) -> Option<End> {
        let mut row = history.new_row(kind, name);
        row.request = request;
        self.wrote = true;
        if due.is_some_and(|due| due <= now) {
            history.append(row, now, now);
            return None;
        }
        row.status = StepStatus::Waiting;
        row.due_at = due;
        self.set_timer(due, row.n);
        history.append(row, now, now);
        Some(self.wait(history))
    }

    pub(super) fn set_timer(&self, due: Option<Timestamp>, n: i32) {
        if let Some(due) = due {
            fault("timer-set");
            timers::insert(due, self.run.run_id, n, self.run.owner, i32::from(self.run.priority));
            hints::timer(due);
        }
    }

    /// The run waits for its open entries.
    pub(super) fn wait(&mut self, history: &History) -> End {
        // What it stands at, or at its end what it has begun.
        let mut shown: Vec<usize> = history.open();
        shown.retain(|at| !history.row(*at).begun);
        if shown.is_empty() {
            shown = history.lingering();
        }
        let rest = shown.len().saturating_sub(SHOWN);
        let mut words: Vec<String> = shown
            .iter()
            .take(SHOWN)
            .map(|at| in_words(history, history.row(*at)))
            .collect();
        if rest > 0 {
            words.push(format!("{rest} more"));
        }
        let status = if self.compensating {
            Status::Compensating
        } else {
            Status::Waiting
        };
        metrics::begun(&self.run, self.started);
        runs::set_open(self.run.run_id, status, Some(&words.join(", ")), self.started);
        fault("waits");
        End::Settled
    }
}

/// Calls that a run is said to wait for, at most.
const SHOWN: usize = 5;

fn in_words(history: &History, row: &StepRow) -> String {
    let name = &row.name;
    let until = row
        .due_at
        .map(|due| format!(" until {}", timestamp_text(due)))
        .unwrap_or_default();
    match row.kind {
        Kind::Step | Kind::Compensation if row.status == StepStatus::Retrying => {
            let (kind, attempt) = (row.kind.name(), row.attempt);
            format!(
                "retry {attempt} of {kind} \"{name}\"{}",
                until.replace(" until ", " at ")
            )
        }
        Kind::Map => {
            let progress = map::progress_text(row.request.as_ref(), row.result.as_ref());
            format!("map \"{name}\": {progress}")
        }
        Kind::Await => {
            let (handles, first) = awaited(row.request.as_ref());
            let open = handles.iter().filter(|handle| history.open_at(**handle).is_some());
            let mut names: Vec<String> = open.map(|handle| history.describe(*handle)).collect();
            let rest = names.len().saturating_sub(SHOWN);
            names.truncate(SHOWN);
            if rest > 0 {
                names.push(format!("{rest} more"));
            }
            let number = if first < handles.len() {
                format!("{first} of ")
            } else {
                String::new()
            };
            format!("{number}{}{until}", names.join(", "))
        }
        kind => format!("{} \"{name}\"{until}", kind.name()),
    }
}

/// The handles that a wait is for, and how many of them it wants done.
fn awaited(request: Option<&Json>) -> (Vec<i32>, usize) {
    let request = request.map(Json::to_value).unwrap_or_default();
    let handles = request["handles"].as_array().into_iter().flatten();
    let handles: Vec<i32> = handles.filter_map(|n| n.as_i64().map(|n| n as i32)).collect();
    let first = request["first"].as_u64().map_or(handles.len(), |first| first as usize);
    (handles, first)
}
