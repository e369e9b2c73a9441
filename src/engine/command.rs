//! Steps that are not transactional: what cannot run in a transaction block, or commits by itself. Each attempt is a command of
//! its own at the top level of an executor, between two transactions of the engine: one that says so beforehand, and
//! one that records what has become of it.
//!
//! No row is locked meanwhile, so the claim is a note in shared memory ([`slots::hold_command`]), which stands as long as the
//! process does, and no longer. It is made before the row says that the branch runs, and taken away when the row does
//! not say so any more. So a branch that is said to run and is nobody's is an attempt that was lost. A row of
//! `commands` has it found ([`recover`]): by the scheduler, which is told when a process ends, and looks when it begins.

use std::rc::Rc;

use crate::engine::code::Code;
use crate::engine::recall::Recall;
use crate::engine::step::{self, Attempt, Bounds, Done, StepSpec};
use crate::engine::target::{self, Shape};
use crate::engine::turn::{End, Terms, Turn};
use crate::engine::{cache, calls, limits, logs, rehearsal, send};
use crate::error::Error;
use crate::hub::{hints, slots};
use crate::pg::clock::steady;
use crate::pg::errdata::{self, QUERY_CANCELED};
use crate::pg::messages::Captured;
use crate::pg::{Json, PgError, Timestamp, clock, fault, guard, interrupt, scope, top_level, txn};
use crate::store::branches::{self, Branch, LockedBranch};
use crate::store::steps::StepStatus;
use crate::store::{commands, ready};

/// How the beginning of an attempt went.
pub(super) enum Begin {
    /// It has an end already.
    Ended(Attempt),
    /// The turn ends here. If it is to be run, the command lies in [`Recall`].
    Left(End),
}

/// An attempt that is to be run once the transaction has committed that says so.
pub(crate) struct Command {
    branch: Branch,
    deadline: Option<Timestamp>,
    code: Rc<Code>,
    name: String,
    spec: StepSpec,
    text: String,
    shape: Shape,
    until: Option<Timestamp>,
}

fn place(branch: Branch) -> slots::Command {
    (branch.run_id, branch.n, branch.item)
}

impl Turn {
    pub(super) fn begin_command(&mut self, code: &Rc<Code>, locked: &LockedBranch, spec: &StepSpec) -> Begin {
        let (branch, name) = (locked.branch, &locked.name);
        let started = clock();
        if !self.terms.in_place {
            if slots::available() && !rehearsal::is_on() {
                return Begin::Left(End::Elsewhere);
            }
            let error = Error::NeedsWorker(name.clone()).into();
            return Begin::Left(self.end_branch(locked, StepStatus::Failed, None, Some(&error), started));
        }
        if !self.fresh() {
            return Begin::Left(End::Alone);
        }
        if slots::is_held(place(branch)) {
            // An attempt of before the run was opened again. When it ends, there is a hint once more.
            return Begin::Left(End::Settled);
        }
        let until = limits::step_until(code, spec, locked.started_at.unwrap_or(started));
        if until.is_some_and(|until| until <= started) {
            return Begin::Ended(Attempt::OutOfTime { made: false });
        }
        if let Some(done) = spec
            .caching
            .as_ref()
            .and_then(|caching| cache::find(self.run.owner, caching))
        {
            return Begin::Ended(Attempt::Done(done));
        }
        self.occupy(code, name, None);
        let command = calls::acting(|| {
            scope::as_owner(self.run.owner, &code.search_path, || {
                txn::subtransaction(|| target::command(&spec.target, &spec.input))
            })
        });
        let target::Command { text, shape } = match command {
            Ok(command) => command,
            Err(error) if error.sqlstate == QUERY_CANCELED && slots::take_cancel() => {
                return Begin::Ended(Attempt::Cancelled);
            }
            Err(error) if error.sqlstate == QUERY_CANCELED && slots::stops_here() => guard::throw(error),
            Err(error) => return Begin::Ended(Attempt::Failed(error)),
        };
        slots::hold_command(place(branch));
        if !commands::begin(branch, clock(), self.run.owner, i32::from(self.run.priority)) {
            slots::drop_command(false);
            return Begin::Left(End::Settled);
        }
        fault("command-begins");
        self.recall.launch(Command {
            branch,
            deadline: self.run.deadline,
            code: Rc::clone(code),
            name: name.clone(),
            spec: spec.clone(),
            text,
            shape,
            until,
        });
        Begin::Left(End::Settled)
    }

    /// A branch that is said to run: it does, or its process has gone.
    pub(super) fn found_running(&mut self, locked: &LockedBranch) -> End {
        if slots::is_held(place(locked.branch)) {
            return End::Settled;
        }
        let started = locked.started_at.unwrap_or_else(clock);
        let error = PgError::from(Error::AttemptLost(locked.name.clone()));
        if !locked.open {
            return self.end_branch(locked, StepStatus::Cancelled, None, Some(&error), started);
        }
        match self.load_code() {
            Ok(code) => {
                let request = locked.request.clone().unwrap_or_else(Json::null);
                let spec = StepSpec::from_request(&request, locked.input.clone());
                self.conclude(&code, locked, &spec, Attempt::Failed(error), started)
            }
            Err(error) => self.end_branch(locked, StepStatus::Failed, None, Some(&error), started),
        }
    }
}

impl Command {
    /// Runs it and records what has become of it. False if this process is not to go on.
    pub(crate) fn run(self, recall: &Rc<Recall>) -> bool {
        let started = clock();
        let bounds = Bounds::new(self.deadline, &self.code, &self.spec, self.until, None);
        if let Some(limit) = bounds.nearest() {
            interrupt::arm(limit);
        }
        fault("command-begun");
        let (ran, raised) = logs::capture(|| {
            send::uncollected(|| {
                calls::acting(|| {
                    guard::catch(|| {
                        interrupt::with_cancels(true, || {
                            top_level::run(&self.text, &self.spec.input, &self.code.search_path, |output| {
                                self.accept(output)
                            })
                            .unwrap_or_else(|error| guard::throw(error))
                        })
                    })
                })
            })
        });
        let fired = interrupt::disarm();
        interrupt::shield();
        fault("command-ran");
        let fit = top_level::reset_session()
            .inspect_err(|error| errdata::log(error.clone()))
            .is_ok();
        let attempt = match ran {
            Ok(result) => Attempt::Done(Done { result, origin: None }),
            Err(error) if error.sqlstate == QUERY_CANCELED => {
                if slots::take_cancel() {
                    Attempt::Cancelled
                } else if fired {
                    bounds.overrun(&self.name)
                } else if slots::asked_to_quit() {
                    // Nothing is recorded: it is lost with this process.
                    return false;
                } else {
                    Attempt::Failed(error)
                }
            }
            Err(error) => Attempt::Failed(error),
        };
        if !fit {
            // Who knows as whom, and under which settings, the record would be written.
            return false;
        }
        let recorded = txn::transaction(|| scope::as_engine(|| self.record(attempt, raised, started, recall)));
        let abandoned = !recorded.unwrap_or_else(|error| {
            errdata::log(error);
            false
        });
        fault("command-recorded");
        slots::drop_command(abandoned);
        slots::set_unoccupied();
        true
    }

    fn accept(&self, output: Option<top_level::Output>) -> Option<Json> {
        let result = output.and_then(|output| self.shape.result(output));
        step::check_size(result.as_ref(), || format!("result of step \"{}\"", self.name))
            .unwrap_or_else(|error| error.throw());
        result
    }

    /// False if the branch does not say any more that it runs: it was opened again, or is gone.
    fn record(&self, attempt: Attempt, raised: Captured, started: Timestamp, recall: &Rc<Recall>) -> bool {
        if !commands::wait_lock(self.branch) {
            return false;
        }
        let Some((locked, run)) = branches::lock(&[self.branch]).pop() else {
            return false;
        };
        if let (Attempt::Done(done), Some(caching)) = (&attempt, &self.spec.caching) {
            cache::store(run.owner, caching, done.result.as_ref());
        }
        let terms = Terms {
            alone: true,
            until: Some(steady() + recall.pace(|pace| pace.budget())),
            in_place: true,
            careful: false,
            forced: None,
            steps: 0,
            ticket: None,
            single: false,
        };
        let mut turn = Turn::new(run, terms, Rc::clone(recall), clock());
        turn.raised = raised;
        turn.conclude(&self.code, &locked, &self.spec, attempt, started);
        commands::delete(self.branch);
        send::flush_hints();
        true
    }
}

/// Makes the branches ready that are said to run and are nobody's, for an executor to see what becomes of them.
pub(crate) fn recover() {
    // Locked first: whoever is just beginning has made its note by now, or finds the row gone.
    for running in commands::lock_all() {
        let branch = running.branch;
        if !slots::is_held(place(branch)) {
            commands::delete(branch);
            ready::insert_branches(
                running.owner,
                running.priority,
                branch.run_id,
                branch.n,
                branch.item,
                branch.item,
            );
            hints::ready(running.owner);
        }
    }
}
