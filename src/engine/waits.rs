//! The waits of a turn: sleeps, signals, retries. Begun with a row and a timer, ended by whatever comes first.

use crate::engine::ask::Ask;
use crate::engine::history::History;
use crate::engine::turn::{End, Turn, cancellation};
use crate::hub::hints;
use crate::pg::Timestamp;
use crate::pg::value::timestamp_text;
use crate::store::runs::{self, Status};
use crate::store::steps::{Kind, StepStatus};
use crate::store::{timers, waits};

impl Turn {
    /// Ends the waits that have come to an end; true if there was one, or a retry is due.
    pub(super) fn settle_open(&mut self, history: &mut History, now: Timestamp) -> bool {
        let mut news = self.cancel.is_some();
        let cancel = self.cancel.clone();
        let run_id = self.run.run_id;
        for position in history.open() {
            let row = history.row(position);
            let (n, kind, name, due_at, waits) = (
                row.n,
                row.kind,
                row.name.clone(),
                row.due_at,
                row.status == StepStatus::Waiting,
            );
            let due = due_at.is_some_and(|due| due <= now);
            let (status, result, error) = if let Some(reason) = &cancel {
                self.cancel = None;
                (StepStatus::Cancelled, None, Some(cancellation(reason.clone())))
            } else if kind == Kind::Signal
                && let Some(payload) = self.take_fitting(history, &name, n, now, || waits::own_schema(run_id, n))
            {
                (StepStatus::Completed, Some(payload), None)
            } else if due && waits {
                (StepStatus::Completed, None, None)
            } else {
                news |= due;
                continue;
            };
            news = true;
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
        }
        news
    }

    pub(super) fn begin_signal(&mut self, history: &mut History, name: &str, ask: &Ask, now: Timestamp) -> Option<End> {
        if self.take_signal(history, name, ask, now) {
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
    pub(super) fn take_signal(&mut self, history: &mut History, name: &str, ask: &Ask, now: Timestamp) -> bool {
        let mut row = history.new_row(Kind::Signal, name);
        let Some(payload) = self.take_fitting(history, name, row.n, now, || ask.schema.clone()) else {
            return false;
        };
        row.result = Some(payload);
        history.flush(now);
        history.append(row, now, now);
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
        let mut row = history.new_row(kind, name);
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
            timers::insert(due, self.run.run_id, n, self.run.owner, i32::from(self.run.priority));
            hints::timer(due);
        }
    }

    /// The run waits for its open entries.
    pub(super) fn wait(&mut self, history: &History) -> End {
        let words: Vec<String> = history
            .open()
            .into_iter()
            .map(|position| {
                let row = history.row(position);
                let until = row
                    .due_at
                    .map(|due| format!(" until {}", timestamp_text(due)))
                    .unwrap_or_default();
                match row.kind {
                    Kind::Sleep => format!("sleep \"{}\"{until}", row.name),
                    Kind::Signal => format!("signal \"{}\"{until}", row.name),
                    _ => format!("retry {} of step \"{}\"{until}", row.attempt, row.name).replace(" until ", " at "),
                }
            })
            .collect();
        runs::set_open(self.run.run_id, Status::Waiting, Some(&words.join(", ")), self.started);
        End::Settled
    }
}
