//! How long what has ended is kept: the rules, and the sweeps that remove what has come of age.
//!
//! There is no index on the end of a run: it would be one more entry a run, for something that is read once in its life. A
//! sweep goes through the runs in the order of their ids, which is that of their making, up to those that were made too
//! lately to be old enough.

use std::collections::{HashMap, HashSet};

use pg_workflow_core::retention::{Batch, Ended, Rules};
use serde_json::json;

use crate::engine::{actions, target};
use crate::error::Error;
use crate::hub::hints;
use crate::pg::clock::steady;
use crate::pg::fmgr::role_name;
use crate::pg::{Interval, Oid, RunId, Timestamp, clock, scope};
use crate::settings;
use crate::store::retention::{self, Candidate, Scope, Standing};
use crate::store::{definitions, versions};

/// Sets a rule, or takes it away where no age is given; false if there was none to take away.
pub(crate) fn set(
    workflow: Option<&str>,
    completed: Option<Interval>,
    failed: Option<Interval>,
) -> Result<bool, Error> {
    let age = |name, given: Option<Interval>| match given.map(Interval::micros) {
        Some(micros) if micros < 0 => Err(Error::NegativeAge(name)),
        micros => Ok(micros),
    };
    let (completed, failed) = (age("completed", completed)?, age("failed", failed)?);
    let by = scope::current_user();
    let given = completed.or(failed).is_some();
    if let Some(workflow) = workflow.filter(|_| given) {
        let known = scope::as_engine(|| definitions::is_known(workflow, by));
        if !known && target::candidates(workflow).is_empty() {
            return Err(Error::UnknownWorkflow(workflow.to_owned()));
        }
    }
    scope::as_engine(|| {
        let owner = (!scope::is_superuser(by)).then_some(by);
        let scope = Scope { workflow, owner };
        if given {
            retention::set(&scope, completed, failed, by, clock());
        } else if !retention::unset(&scope) {
            return Ok(false);
        }
        let seconds = |micros: Option<i64>| micros.map(|micros| micros / 1_000_000);
        let detail = json!({
            "workflow": workflow,
            "owner": owner.map(role_name),
            "completed_seconds": seconds(completed),
            "failed_seconds": seconds(failed),
        });
        actions::record("retention", by, None, None, Some(&detail));
        hints::retention();
        Ok(true)
    })
}

/// What is to become of a run.
enum Verdict {
    Goes,
    /// It comes of age at a time.
    Later(Timestamp),
    /// It is open, or kept for ever, or for as long as another.
    Stays,
}

/// A way through the runs, in parts, each a transaction of its own.
pub(crate) struct Sweep {
    rules: Rules,
    /// Workflows of definitions, if a rule asks for them.
    names: HashMap<i32, String>,
    /// The least age of what may go.
    pub(crate) least: i64,
    /// Runs that were made behind this are too young.
    until: Timestamp,
    /// The run that was looked at last.
    pub(crate) at: RunId,
    batch: Batch,
    /// Microseconds for looking alone.
    pub(crate) looked: i64,
    pub(crate) removed: i64,
    /// When the first of those that were passed over comes of age.
    pub(crate) left: Option<Timestamp>,
    /// Something of age could not be removed.
    pub(crate) undone: bool,
}

impl Sweep {
    /// A sweep of the runs behind `from`; `None` if nothing may ever be removed. As the engine.
    pub(crate) fn begin(from: RunId) -> Option<Self> {
        let rules = Rules::new(settings::retention(), retention::rules());
        let least = rules.least()?;
        let names = if rules.by_workflow() {
            retention::workflow_names().into_iter().collect()
        } else {
            HashMap::new()
        };
        Some(Self {
            rules,
            names,
            least,
            until: clock().saturating_sub(least),
            at: from,
            batch: Batch::default(),
            looked: 0,
            removed: 0,
            left: None,
            undone: false,
        })
    }

    /// The next part; true if there is more. As the engine, in a transaction of its own.
    pub(crate) fn take_part(&mut self) -> bool {
        let (begun, now) = (steady(), clock());
        let page = retention::page(self.at, RunId::least_at(self.until), self.batch.size());
        self.looked += steady() - begun;
        let more = page.len() == self.batch.size() as usize;
        let mut going = Vec::new();
        let mut gone = HashSet::new();
        for candidate in &page {
            self.at = candidate.run_id;
            match self.judge(candidate, now, &gone) {
                Verdict::Goes => {
                    going.push(candidate.run_id);
                    gone.insert(candidate.run_id);
                }
                Verdict::Later(at) => self.left = Some(self.left.map_or(at, |other| other.min(at))),
                Verdict::Stays => {}
            }
        }
        if !going.is_empty() {
            self.remove(&going, now);
        }
        self.batch.observe(steady() - begun);
        more
    }

    fn remove(&mut self, going: &Vec<RunId>, now: Timestamp) {
        let locked = retention::lock(going, now.saturating_sub(self.least).saturating_add(1));
        hints::holding();
        // One that somebody is at, or that goes with a later run of its id which is still there.
        self.undone |= locked.len() < going.len();
        let free: Vec<RunId> = locked
            .into_iter()
            .filter(|(_, free)| *free)
            .map(|(run, _)| run)
            .collect();
        let removed = versions::remove(&free);
        self.undone |= (removed as usize) < free.len();
        if removed > 0 {
            retention::note_removed(removed, self.removed == 0);
        }
        self.removed += i64::from(removed);
    }

    /// `gone`: runs before it that go.
    fn judge(&self, candidate: &Candidate, now: Timestamp, gone: &HashSet<RunId>) -> Verdict {
        if candidate.parent.is_some_and(|parent| !gone.contains(&parent)) {
            return Verdict::Stays;
        }
        let first = candidate.first.as_ref().map(|first| self.due(first));
        match (self.due(&candidate.run), first) {
            (None, _) | (_, Some(None)) => Verdict::Stays,
            (Some(due), first) => match due.max(first.flatten().unwrap_or(due)) {
                due if due <= now => Verdict::Goes,
                due => Verdict::Later(due),
            },
        }
    }

    fn due(&self, run: &Standing) -> Option<Timestamp> {
        let workflow = match self.names.get(&run.def_id) {
            Some(name) => name.as_str(),
            // Recorded behind the beginning of the sweep: whatever rule there is for it, it is for the next one.
            None if self.rules.by_workflow() => return None,
            None => "",
        };
        self.rules.due(Ended {
            workflow,
            owner: Oid::to_u32(run.owner),
            failed: run.failed,
            at: run.finished_at?,
        })
    }

    /// When the first of those that were too young may be old enough.
    pub(crate) fn beyond(&self) -> Option<Timestamp> {
        retention::next_made(self.until)?.checked_add(self.least)
    }
}
