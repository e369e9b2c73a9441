//! `wf_map`: one step, or one child, for each item of a set. The items are recorded once, as branches; up to `max_parallel`
//! of them are ready at a time. The call's entry counts what has come back; results stay with the branches until all are
//! there.

use crate::engine::calls::{StepCall, deliver, with_history};
use crate::engine::code::Code;
use crate::engine::history::{History, Want};
use crate::engine::turn::Turn;
use crate::engine::{step, target};
use crate::error::Error;
use crate::pg::{Json, PgError, Timestamp, scope, txn};
use crate::store::answers::Answer;
use crate::store::branches::{self, Branch};
use crate::store::runs::Parent;
use crate::store::steps::{Kind, StepStatus};

/// Arguments of `wf_map`.
pub(crate) struct MapCall {
    pub(crate) step: StepCall,
    /// The target is a workflow, and each item a child.
    pub(crate) children: bool,
    pub(crate) items: Option<Json>,
    /// SQL whose rows are the items; the step's input is its `$1`.
    pub(crate) query: Option<String>,
    pub(crate) max_parallel: Option<i32>,
    pub(crate) tolerate: Option<i32>,
}

impl MapCall {
    fn check(&self) -> Result<(), Error> {
        let wrong = |name, expected: &str| {
            let expected = expected.to_owned();
            Err(Error::WrongArgument { name, expected })
        };
        if self.items.is_some() == self.query.is_some() {
            return wrong("items", "given, or a query in its place");
        }
        if self.max_parallel.is_some_and(|limit| limit < 1) {
            return wrong("max_parallel", "at least 1");
        }
        if self.tolerate.is_some_and(|failures| failures < 0) {
            return wrong("tolerate", "at least 0");
        }
        if self.children && self.step.retry.is_some() {
            return wrong("retry", "left out: a child's steps have their own");
        }
        Ok(())
    }
}

/// `wf_map`: recorded, or unwinding.
pub(crate) fn call(name: &str, read: impl FnOnce() -> Result<MapCall, Error>) -> Result<Option<Json>, Error> {
    let answer = with_history("wf_map", |history| {
        history.answer(Kind::Map, name, |_| {
            let call = read()?;
            call.check()?;
            Ok(Want::Map {
                name: name.to_owned(),
                call: Box::new(call),
            })
        })
    })?;
    deliver(answer)
}

/// What a map's entry says of it while it is open.
#[derive(Debug, Clone, Copy)]
struct Progress {
    total: i32,
    max_parallel: i32,
    tolerate: Option<i32>,
    started: i32,
    done: i32,
    failed: i32,
    /// It was opened again: answers may have come that nobody has counted, or that were counted before. So each has the
    /// items counted.
    recounts: bool,
}

impl Progress {
    fn read(request: Option<&Json>, state: Option<&Json>) -> Self {
        let request = request.map(Json::to_value).unwrap_or_default();
        let state = state.map(Json::to_value).unwrap_or_default();
        let number = |value: &serde_json::Value| value.as_i64().map(|n| n as i32);
        let total = number(&request["items"]).unwrap_or(0);
        Self {
            total,
            max_parallel: number(&request["max_parallel"]).unwrap_or(total),
            tolerate: number(&request["tolerate"]),
            started: number(&state["started"]).unwrap_or(0),
            done: number(&state["done"]).unwrap_or(0),
            failed: number(&state["failed"]).unwrap_or(0),
            recounts: state["recounts"].as_bool().unwrap_or(false),
        }
    }

    fn write(self) -> Json {
        let recounts = if self.recounts { r#", "recounts": true"# } else { "" };
        Json::parse(&format!(
            r#"{{"started": {}, "done": {}, "failed": {}{recounts}}}"#,
            self.started, self.done, self.failed
        ))
    }

    /// Items that may be started now.
    fn free(self) -> i32 {
        (self.max_parallel - (self.started - self.done)).min(self.total - self.started)
    }
}

/// In words, for `waiting_for`.
pub(super) fn progress_text(request: Option<&Json>, state: Option<&Json>) -> String {
    let Progress {
        total, done, failed, ..
    } = Progress::read(request, state);
    let failed = if failed > 0 {
        format!(", {failed} failed")
    } else {
        String::new()
    };
    format!("{done} of {total} done{failed}")
}

/// Number of items that a map which has failed had begun, and what it says of itself when `left` of them are done again.
pub(super) fn reopened(request: Option<&Json>, state: Option<&Json>, left: impl FnOnce(i32) -> i32) -> Json {
    let mut progress = Progress::read(request, state);
    progress.done = progress.started - left(progress.started);
    progress.failed = 0;
    progress.recounts = true;
    progress.write()
}

impl Turn {
    /// Records the items and starts the first of them.
    pub(super) fn begin_map(&mut self, code: &Code, history: &mut History, name: &str, call: &MapCall, now: Timestamp) {
        let mut row = history.new_row(Kind::Map, name);
        self.wrote = true;
        let items = scope::as_owner(self.run.owner, &code.search_path, || {
            txn::subtransaction(|| read_items(name, call).unwrap_or_else(|error| error.throw()))
        });
        let items = match items {
            Ok(items) => items,
            Err(error) => {
                row.status = StepStatus::Failed;
                row.error = Some(Json::from_value(&error.to_json()));
                return history.append(row, now, now);
            }
        };
        let request = call.step.to_request(false).map(|step| {
            let total = items.array_length();
            let number = |value: Option<i32>| value.map(|n| n.to_string());
            let target = step.field("target").map(|json| json.to_text());
            let (target, workflow) = if call.children { (None, target) } else { (target, None) };
            Json::object(&[
                ("target", target),
                ("workflow", workflow),
                ("retry", step.field("retry").map(|json| json.to_text())),
                ("timeout", step.field("timeout").map(|json| json.to_text())),
                ("items", Some(total.to_string())),
                ("max_parallel", number(call.max_parallel)),
                ("tolerate", number(call.tolerate)),
                ("queue", step.field("queue").map(|json| json.to_text())),
                ("key", step.field("key").map(|json| json.to_text())),
            ])
        });
        row.request = request.ok();
        row.status = StepStatus::Waiting;
        let n = row.n;
        history.append(row, now, now);
        branches::insert_all(self.run.run_id, n, &items);
        let position = history.len() - 1;
        self.advance_map(code, history, position, &[], now);
    }

    /// Counts answers, starts what there is room for, and ends the map if it is done. True if it is.
    pub(super) fn advance_map(
        &mut self,
        code: &Code,
        history: &mut History,
        position: usize,
        answers: &[Answer],
        now: Timestamp,
    ) -> bool {
        let row = history.row(position);
        let (n, name) = (row.n, row.name.clone());
        let request = row.request.clone();
        let mut progress = Progress::read(request.as_ref(), row.result.as_ref());
        let children = request.as_ref().and_then(|request| request.field("workflow")).is_some();
        if progress.recounts {
            if children {
                branches::sync(self.run.run_id, n);
            }
            (progress.done, progress.failed) = branches::ended(self.run.run_id, n, progress.started);
        }
        for answer in answers.iter().filter(|_| !progress.recounts) {
            progress.done += 1;
            progress.failed += i32::from(answer.status != "completed");
            if children {
                let branch = self.branch(n, answer.item);
                let (result, error) = (answer.result.as_ref(), answer.error.as_ref());
                branches::set(branch, &answer.status, result, error, now);
            }
        }
        let mut refused = None;
        let exceeded = progress.failed > progress.tolerate.unwrap_or(0);
        if !exceeded && progress.free() > 0 {
            let (first, last) = (progress.started + 1, progress.started + progress.free());
            progress.started = last;
            match request.as_ref().filter(|_| children) {
                Some(request) => {
                    for item in first..=last {
                        self.start_item(code, request, &name, n, item, now, &mut progress);
                    }
                }
                None => {
                    refused = self
                        .launch_branches(request.as_ref(), n, first..=last, first == 1, now)
                        .err()
                }
            }
        }
        self.wrote = true;
        let outcome = if let Some(error) = refused {
            Some(Err(error.into()))
        } else if progress.failed > progress.tolerate.unwrap_or(0) {
            Some(Err(self.map_failed(n, &name, progress)))
        } else if progress.done == progress.total {
            let results = branches::results(self.run.run_id, n, progress.tolerate.is_some());
            let checked = step::check_size(results.as_ref(), || format!("result of map \"{name}\""));
            Some(checked.map(|()| results).map_err(PgError::from))
        } else {
            None
        };
        let ended = outcome.is_some();
        history.settle(position, now, |row| match outcome {
            None => row.result = Some(progress.write()),
            Some(Ok(results)) => {
                row.status = StepStatus::Completed;
                row.result = results;
            }
            Some(Err(error)) => {
                row.status = StepStatus::Failed;
                row.result = Some(progress.write());
                row.error = Some(Json::from_value(&error.to_json()));
            }
        });
        ended
    }

    #[allow(clippy::too_many_arguments)]
    fn start_item(
        &mut self,
        code: &Code,
        request: &Json,
        name: &str,
        n: i32,
        item: i32,
        now: Timestamp,
        progress: &mut Progress,
    ) {
        let branch = self.branch(n, item);
        let input = branches::input(branch).unwrap_or_else(Json::null);
        let parent = Parent {
            run_id: self.run.run_id,
            n,
            item,
        };
        if let Err(error) = self.start_as_child(code, request, &format!("{name}/{item}"), input, parent) {
            let error = Json::from_value(&error.to_json());
            branches::set(branch, "failed", None, Some(&error), now);
            progress.done += 1;
            progress.failed += 1;
        }
    }

    fn map_failed(&self, n: i32, name: &str, progress: Progress) -> PgError {
        let first = branches::failure(self.run.run_id, n);
        let first = first.map(|(item, error)| (item, PgError::from_json(&error.to_value())));
        Error::MapFailed {
            name: name.to_owned(),
            failed: progress.failed,
            total: progress.total,
            first: first.map(|(item, error)| format!("Item {item}: {}.", error.message)),
        }
        .into()
    }

    fn branch(&self, n: i32, item: i32) -> Branch {
        Branch {
            run_id: self.run.run_id,
            n,
            item,
        }
    }
}

/// The items as a JSON array. As the owner.
fn read_items(name: &str, call: &MapCall) -> Result<Json, Error> {
    let items = match (&call.items, &call.query) {
        (Some(items), _) => items.clone(),
        (None, query) => {
            let query = query.as_deref().unwrap_or_default();
            target::run_query(query, &call.step.input)
        }
    };
    if !items.is_array() {
        return Err(Error::WrongArgument {
            name: "items",
            expected: "a JSON array".to_owned(),
        });
    }
    step::check_size(Some(&items), || format!("items of map \"{name}\""))?;
    Ok(items)
}
