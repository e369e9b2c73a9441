//! Pauses: what is not to run for now.
//!
//! An executor that finds the run of a hint paused parks the hint: a row in `parked` takes its place. Whoever lifts the
//! pause makes hints of these rows again. No row is lost between the two: it is parked under a lock of the pause, for
//! which the lifting waits before it looks for rows. Where the lifting came first, its transaction may still be open;
//! then the run is set aside like one that another executor holds, and looked at again when that transaction ends.
//!
//! A run that a cancel was sent to is not held: it may have to clean up. Unless it has crashed the server: see
//! [`super::crash`].

use std::collections::{HashMap, HashSet};

use serde_json::json;

use crate::engine::actions::{self, Subject};
use crate::engine::authority::{self, Access};
use crate::engine::recall::Recall;
use crate::engine::target;
use crate::error::Error;
use crate::hub::{self, hints};
use crate::pg::fmgr::role_name;
use crate::pg::{Oid, RunId, clock, scope, txn};
use crate::store::branches::Branch;
use crate::store::pauses::{self, Scope};
use crate::store::runs::Locked;
use crate::store::{crashes, definitions, operations};

/// What a process knows of the pauses that concern runs of its role.
#[derive(Default)]
pub(super) struct Pauses {
    /// The state of shared memory that it was read at.
    generation: Option<u64>,
    everything: Option<i64>,
    workflows: HashMap<String, i64>,
    runs: HashMap<RunId, i64>,
    /// Those of `runs` that have crashed the server.
    crashed: HashSet<RunId>,
    /// Workflows of definitions, which do not change.
    names: HashMap<i32, String>,
}

impl Pauses {
    fn refresh(&mut self, owner: Oid) {
        // Before the look, so that what commits behind it is noticed the next time.
        let generation = hub::pauses::generation();
        if generation.is_some() && generation == self.generation {
            return;
        }
        *self = Self {
            generation,
            ..Self::default()
        };
        for pause in pauses::load(owner) {
            self.crashed.extend(pause.run.filter(|_| pause.crashed));
            match (pause.run, pause.workflow) {
                (Some(run), _) => drop(self.runs.insert(run, pause.pause_id)),
                (None, Some(workflow)) => drop(self.workflows.insert(workflow, pause.pause_id)),
                (None, None) => self.everything = Some(pause.pause_id),
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.everything.is_none() && self.workflows.is_empty() && self.runs.is_empty()
    }

    fn of(&mut self, run: &Locked) -> Option<i64> {
        let own = self.runs.get(&run.run_id).copied().or(self.everything);
        if own.is_some() || self.workflows.is_empty() {
            return own;
        }
        let name = self.names.entry(run.def_id).or_insert_with(|| {
            let definition = definitions::get(run.def_id);
            definition.map(|definition| definition.workflow).unwrap_or_default()
        });
        self.workflows.get(name).copied()
    }
}

/// The pause that keeps a run of this process' role from its turn. As the engine.
pub(super) fn holding(run: &Locked, recall: &Recall) -> Option<i64> {
    let (pause, crashed) = recall.pauses(|pauses| {
        pauses.refresh(run.owner);
        let crashed = pauses.crashed.contains(&run.run_id);
        pauses.of(run).map(|pause| (pause, crashed))
    })?;
    let cancelled = !crashed && (run.controlled || operations::was_cancelled(run.run_id));
    (!cancelled).then_some(pause)
}

/// Takes what is paused out of what a batch has locked: runs, or branches of `run_of`.
pub(super) fn set_aside<T>(locked: &mut Vec<T>, run_of: impl Fn(&T) -> &Locked, recall: &Recall) -> Vec<(T, i64)> {
    let Some(owner) = locked.first().map(|first| run_of(first).owner) else {
        return Vec::new();
    };
    let none = recall.pauses(|pauses| {
        pauses.refresh(owner);
        pauses.is_empty()
    });
    if none {
        return Vec::new();
    }
    let mut paused = Vec::new();
    let mut free = Vec::with_capacity(locked.len());
    for item in locked.drain(..) {
        let run = run_of(&item);
        match holding(run, recall).filter(|_| run.status.is_open()) {
            Some(pause) => paused.push((item, pause)),
            None => free.push(item),
        }
    }
    *locked = free;
    paused
}

/// What has become of a hint that was to be parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parking {
    Parked,
    /// The pause is gone: the hint stands.
    Lifted,
    /// The pause is being lifted by a transaction that is still open.
    Open,
}

/// Parks the hint of a run, or of a branch of it, under a pause. The lock on the pause is held until the transaction ends.
pub(super) fn park(run: &Locked, branch: Option<Branch>, pause: i64, recall: &Recall) -> Parking {
    if pauses::hold(pause) {
        pauses::park(pause, run.run_id, branch, run.owner, i32::from(run.priority));
        return Parking::Parked;
    }
    if pauses::exists(pause) {
        return Parking::Open;
    }
    // What is remembered may be of before its end was announced.
    recall.pauses(|pauses| pauses.generation = None);
    Parking::Lifted
}

/// Deletes the pause of a run that has ended in spite of it.
pub(super) fn forget_ended(run: RunId, recall: &Recall) {
    if recall.pauses(|pauses| pauses.runs.contains_key(&run)) {
        pauses::forget_ended(run);
    }
}

/// What is to be paused or resumed.
pub(crate) enum What {
    Instance(String),
    Workflow(String),
    Everything,
}

impl What {
    /// From arguments of which an empty one is not given.
    pub(crate) fn from_arguments(id: String, workflow: String) -> Result<Self, Error> {
        match (id.is_empty(), workflow.is_empty()) {
            (true, true) => Ok(Self::Everything),
            (false, true) => Ok(Self::Instance(id)),
            (true, false) => Ok(Self::Workflow(workflow)),
            (false, false) => Err(Error::Together {
                first: "id",
                second: "workflow",
            }),
        }
    }
}

/// What is meant, found in the tables.
struct Meant<'a> {
    scope: Scope<'a>,
    /// The instance, if it is one.
    subject: Option<Subject<'a>>,
    /// There is something to pause.
    open: bool,
    /// Behind "resume", for the eye.
    words: String,
}

/// A workflow, or everything, is that of the caller's role, and an operator's that of every role.
fn find_out(what: &What, caller: Oid) -> Result<Meant<'_>, Error> {
    let owner = (!authority::operates_all(caller)).then_some(caller);
    let wide = |workflow, words| Meant {
        scope: Scope::Wide { owner, workflow },
        subject: None,
        open: true,
        words,
    };
    Ok(match what {
        What::Instance(id) => {
            let run = authority::find(id, caller, Access::Operate)?;
            let (run_id, owner) = (run.run_id, run.owner);
            Meant {
                scope: Scope::Run { run_id, owner },
                subject: Some(Subject { run_id, id, owner }),
                open: run.status.is_open(),
                words: String::new(),
            }
        }
        What::Workflow(workflow) => wide(Some(workflow.as_str()), format!(" of workflow \"{workflow}\"")),
        What::Everything => wide(None, " of everything".to_owned()),
    })
}

/// Sets a pause; false if there is one, or the run has ended.
pub(crate) fn pause(what: &What, reason: Option<&str>) -> Result<bool, Error> {
    actions::check_reason(reason)?;
    let by = scope::current_user();
    if let What::Workflow(workflow) = what {
        let known = scope::as_engine(|| definitions::is_known(workflow, by));
        if !known && target::candidates(workflow).is_empty() {
            return Err(Error::UnknownWorkflow(workflow.clone()));
        }
    }
    scope::as_engine(|| {
        let meant = find_out(what, by)?;
        let name = role_name(by);
        let words = match reason {
            Some(reason) => format!("resume{} (paused by {name}: {reason})", meant.words),
            None => format!("resume{} (paused by {name})", meant.words),
        };
        let pause = pauses::NewPause {
            scope: &meant.scope,
            at: clock(),
            by,
            reason,
            waiting_for: &words,
        };
        let set = meant.open
            && (pauses::insert(&pause) || matches!(meant.scope, Scope::Run { run_id, .. } if crashes::keep(run_id)));
        if !set {
            return Ok(false);
        }
        hints::paused();
        record("pause", by, meant, reason);
        Ok(true)
    })
}

/// Lifts a pause; false if there is none.
pub(crate) fn resume(what: &What, reason: Option<&str>) -> Result<bool, Error> {
    actions::check_reason(reason)?;
    if txn::one_snapshot() {
        // Hints that turns have parked meanwhile would not be seen, and be lost.
        return Err(Error::OneSnapshot("wf_resume"));
    }
    let by = scope::current_user();
    scope::as_engine(|| {
        let meant = find_out(what, by)?;
        // Who finds the pause locked by this transaction looks again when it ends.
        hints::holding();
        if let Scope::Run { run_id, .. } = meant.scope {
            crashes::forget(run_id);
        }
        let Some(pause) = pauses::lift(&meant.scope) else {
            return Ok(false);
        };
        // A statement of its own: behind the wait for the turns that have parked.
        pauses::release(pause).into_iter().for_each(hints::ready);
        hints::paused();
        record("resume", by, meant, reason);
        Ok(true)
    })
}

fn record(name: &str, by: Oid, meant: Meant, reason: Option<&str>) {
    let detail = match meant.scope {
        Scope::Run { .. } => None,
        Scope::Wide { owner, workflow } => Some(json!({ "workflow": workflow, "owner": owner.map(role_name) })),
    };
    actions::record(name, by, meant.subject, reason, detail.as_ref());
}
