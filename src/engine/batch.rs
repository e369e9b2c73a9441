//! A batch: claim ready runs of one role, take their turns, all in the caller's transaction.
//!
//! The claim is the row lock of the `ready` row, and the run's own row lock makes the transaction its one writer. Both
//! go with the transaction, however it ends: there is nothing to take back after a crash. Rows of runs whose turn was
//! taken are deleted in the same transaction.

use std::collections::HashSet;
use std::rc::Rc;

use pg_workflow_core::batch::MAX_STEPS;

use crate::engine::passage::Interrupted;
use crate::engine::pause::{self, Parking};
use crate::engine::recall::{Queue, Recall};
use crate::engine::schedule::fire;
use crate::engine::turn::{self, End, Ended, Terms, Turn};
use crate::engine::{admission, branch, continued, limits, seats, send, target, task};
use crate::hub::{hands, hints, moved, slots};
use crate::pg::clock::{self, Steady, steady};
use crate::pg::errdata::{QUERY_CANCELED, pack};
use crate::pg::{Oid, PgError, RunId, Timestamp, errdata, fault, guard, process, scope, txn};
use crate::store::branches::{self, Branch, LockedBranch};
use crate::store::ready::{self, Position, Ticket};
use crate::store::runs::{self, Locked, Status};
use crate::store::{answers, home, inbox, queues, schedules, steps, tasks, timers};

/// What the machine lacks, and no run is to blame for.
const DISK_FULL: i32 = pack(*b"53100");
const IO_ERROR: i32 = pack(*b"58030");

/// Pauses behind batches that fail for that, in microseconds: each is twice as long as the one before.
const FIRST_PAUSE: i64 = 100_000;
const MAX_PAUSE: i64 = 30_000_000;

/// Takes batches for one role, and remembers from one to the next.
pub(crate) struct Batcher {
    owner: Oid,
    recall: Rc<Recall>,
    /// The next batch is of one run.
    single: u32,
    /// Runs found locked by another executor once, and those found locked again after `contended` was announced.
    suspects: HashSet<RunId>,
    busy: Vec<RunId>,
    /// Runs whose pause is being lifted by a transaction that is still open: they and their branches are left out, too. Likewise
    /// queues that another has locked, under the number of their hints.
    lifting: Vec<RunId>,
    /// What the last batch was for, if it was single, and the error that its transaction failed with.
    last_single: Option<Unit>,
    /// What has failed at its commit though it was alone in its transaction, and how often.
    trouble: Option<(Unit, u32)>,
    forced: Option<(Unit, PgError)>,
    /// How far the run in trouble had come when its last turn in this process began.
    stood: Option<(i64, i64)>,
    failures: u32,
    /// How far timers had been moved when the last claims were made.
    moved: Timestamp,
    /// When the last batch was ready for its commit.
    ended: Option<Steady>,
}

/// What a turn is taken for: a run, or a branch of it.
type Unit = (RunId, Option<Branch>);

/// The runs and branches behind a batch's claims.
struct Claimed {
    locked: Vec<Locked>,
    branches: Vec<(LockedBranch, Locked)>,
    /// Runs that exist and are held by another executor.
    elsewhere: HashSet<RunId>,
}

/// What a batch found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Turns were taken, or something is to be looked at again.
    Turns,
    /// Nothing is ready, or all that is ready is held by others.
    Nothing,
    /// Nothing is ready at the place in the queue that was looked at; the rest is to be looked at then.
    Later(Steady),
}

/// May the caller commit between batches?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commits {
    /// And a batch may commit in its middle, or end its transaction with an error and go on in the next one.
    InPlace,
    Yes,
    /// Everything happens in one transaction that is not ours.
    No,
}

impl Batcher {
    pub(crate) fn new(owner: Oid) -> Self {
        Self {
            owner,
            recall: Rc::default(),
            single: 0,
            suspects: HashSet::new(),
            busy: Vec::new(),
            lifting: Vec::new(),
            last_single: None,
            trouble: None,
            forced: None,
            stood: None,
            failures: 0,
            moved: Timestamp::MIN,
            ended: None,
        }
    }

    /// The last batch's transaction has committed just now.
    pub(crate) fn has_committed(&mut self) {
        if let Some(ended) = self.ended.take() {
            self.recall.pace(|pace| pace.observe_commit(steady() - ended));
        }
    }

    /// Takes one batch. As the engine, in a transaction.
    pub(crate) fn take(&mut self, commits: Commits) -> Found {
        // The last batch has committed, or it would not be remembered here. A run's trouble is over when its turn is; a branch
        // has no other turn than the one that fails at its commit.
        if let Some(unit @ (_, Some(_))) = self.last_single.take() {
            self.trouble.take_if(|(other, _)| *other == unit);
        }
        target::sweep();
        let begun = steady();
        if let Some(interrupted) = self.recall.take_interrupted() {
            match interrupted.now(&self.recall) {
                Some(interrupted) => self.go_on(interrupted, begun),
                None => slots::set_unoccupied(),
            }
            return Found::Turns;
        }
        hands::empty();
        let size = if self.single > 0 {
            1
        } else {
            self.recall.pace(|pace| pace.size())
        };
        let tickets = match self.claim(size, commits) {
            Ok(tickets) if tickets.is_empty() => return Found::Nothing,
            Ok(tickets) => tickets,
            Err(later) => return Found::Later(later),
        };
        self.moved = moved::until();
        clock::reset_lowest();
        // Not idle any more, or the call below would wake this very process.
        slots::set_idle(false);
        if tickets.len() > 1 && tickets.len() == size as usize {
            // More than one can chew: let another executor have a look.
            slots::wake_executor(process::my_database(), self.owner);
        }
        let Claimed {
            mut locked,
            mut branches,
            elsewhere,
        } = self.lock(&tickets);
        fault("claimed");
        let paused = pause::set_aside(&mut locked, |run| run, &self.recall);
        let paused_branches = pause::set_aside(&mut branches, |(_, run)| run, &self.recall);
        if !locked.is_empty() {
            hints::holding();
        }
        let until = (commits != Commits::No).then_some(begun + self.recall.pace(|pace| pace.budget()));
        let alone_in_transaction = locked.len() + branches.len() == 1 && commits != Commits::No;
        if alone_in_transaction {
            let branch = branches
                .first()
                .map(|(locked, _)| (locked.branch.run_id, Some(locked.branch)));
            self.last_single = locked.first().map(|run| (run.run_id, None)).or(branch);
        }
        let mut served: Vec<Ticket> = Vec::new();
        // Runs whose hints must stay: their turns are another's, or still to be taken.
        let mut held = elsewhere;
        held.extend(paused.iter().map(|(run, _)| run.run_id));
        let parked: Vec<Branch> = paused_branches.iter().map(|((locked, _), _)| locked.branch).collect();
        let mut to_serve: Vec<i32> = Vec::new();
        let mut committed = false;
        let mut turns = 0;
        let mut steps = 0;
        for ticket in &tickets {
            let unit = (ticket.run_id, ticket.branch);
            let terms = Terms {
                alone: alone_in_transaction && turns == 0,
                in_place: commits == Commits::InPlace,
                steps,
                ..self.terms(unit, until, Some(*ticket))
            };
            let ended = if let Some(branch) = ticket.branch {
                let position = branches.iter().position(|(locked, _)| locked.branch == branch);
                position.map(|position| {
                    let (locked, run) = branches.swap_remove(position);
                    let priority = i32::from(run.priority);
                    (scope::with_memory(|| self.branch_turn(&locked, run, terms)), priority)
                })
            } else {
                let position = locked.iter().position(|run| run.run_id == ticket.run_id);
                position.map(|position| {
                    let run = locked.swap_remove(position);
                    let priority = i32::from(run.priority);
                    (scope::with_memory(|| self.turn(run, terms)), priority)
                })
            };
            if let Some((ended, priority)) = ended {
                steps = ended.steps;
                turns += 1;
                if ended.committed {
                    // With a transaction of its own by now, which knows nothing of the other claims.
                    served.clear();
                }
                if ended.end == End::Alone && ticket.branch.is_none() {
                    held.insert(ticket.run_id);
                }
                served.extend(self.settle(unit, priority, &ended));
                if ticket.branch.is_none() {
                    pause::forget_ended(ticket.run_id, &self.recall);
                }
                if ended.committed {
                    committed = true;
                    break;
                }
            } else if let Some(queue) = ticket.branch.and_then(queues::of_unit) {
                // Once, at the end of the batch.
                if !to_serve.contains(&queue) {
                    to_serve.push(queue);
                }
            } else if let Some(unit) = ticket.branch.filter(|unit| tasks::is_task(*unit)) {
                task::act_on_time(unit);
                turns += 1;
                served.push(*ticket);
            } else if let Some(unit) = ticket.branch.filter(|unit| schedules::is_schedule(*unit)) {
                let alone = tickets.len() == 1 || commits == Commits::No;
                if scope::with_memory(|| fire::act(unit.run_id, self.owner, alone)) {
                    turns += 1;
                    served.push(*ticket);
                } else {
                    self.single = self.single.max(1) + 1;
                }
            } else if ticket
                .branch
                .map_or(!held.contains(&ticket.run_id), |branch| !parked.contains(&branch))
            {
                // A second hint for a run whose turn was just taken, or for one that is gone. A branch that is held has a
                // hint of its own in the hands of its holder.
                served.push(*ticket);
            }
            if until.is_some_and(|until| steps >= MAX_STEPS || steady() >= until) {
                break;
            }
        }
        if !committed {
            for (run, pause) in &paused {
                if self.park((run.run_id, None), run, *pause, &tickets, &mut served) {
                    // Others may have its place in a queue meanwhile: it gets in line again when it is resumed.
                    seats::leave_run(run);
                }
            }
            for ((locked, run), pause) in &paused_branches {
                if self.park((run.run_id, Some(locked.branch)), run, *pause, &tickets, &mut served) {
                    seats::end_attempt(locked, run);
                }
            }
            for queue in to_serve {
                turns += u32::from(self.serve(queue, &tickets, &mut served, turns == 0));
            }
        }
        let passed = tickets
            .iter()
            .zip(&served)
            .take_while(|(a, b)| a.position == b.position);
        if let Some((last, _)) = passed.last() {
            self.recall.queue(|queue| queue.after = last.position);
        }
        self.finish(&served, turns, begun);
        Found::Turns
    }

    /// Serves a queue that hints have named, which stay if another has it locked. If there is nothing else to do (`alone`) it is
    /// left aside until the end of the other's transaction.
    fn serve(&mut self, queue: i32, tickets: &[Ticket], served: &mut Vec<Ticket>, alone: bool) -> bool {
        let unit = queues::unit(queue);
        let done = admission::serve(queue, self.owner);
        if done {
            served.extend(tickets.iter().filter(|ticket| ticket.branch == Some(unit)));
        } else if alone {
            self.lifting.push(unit.run_id);
        }
        done
    }

    /// Parks the hints of a paused run, or of a branch of one. Last in a batch: whoever lifts a pause waits for the lock that it
    /// takes. True if they are parked.
    fn park(&mut self, unit: Unit, run: &Locked, pause: i64, tickets: &[Ticket], served: &mut Vec<Ticket>) -> bool {
        let parking = pause::park(run, unit.1, pause, &self.recall);
        if parking != Parking::Open {
            hints::holding();
        }
        match parking {
            Parking::Parked => served.extend(tickets.iter().filter(|ticket| (ticket.run_id, ticket.branch) == unit)),
            Parking::Lifted => {}
            // Whose end is waited for is that of another transaction: with its own, it would wake itself.
            Parking::Open => {
                slots::set_contended();
                self.lifting.push(unit.0);
            }
        }
        parking == Parking::Parked
    }

    /// Claims what is next in the queue; `Err`: there may be something, to be looked for at that time.
    fn claim(&mut self, size: u32, commits: Commits) -> Result<Vec<Ticket>, Steady> {
        let Queue { after, from_start } = self.recall.queue(|queue| *queue);
        let begun = steady();
        if after != Position::START && !from_start.is_due(begun) {
            let tickets = ready::claim(self.owner, size, &self.busy, &self.lifting, after);
            if !tickets.is_empty() {
                return Ok(tickets);
            }
            if commits == Commits::InPlace {
                return Err(from_start.next());
            }
        }
        let tickets = ready::claim(self.owner, size, &self.busy, &self.lifting, Position::START);
        self.recall.queue(|queue| {
            queue.from_start.observe(begun, steady());
            queue.after = Position::START;
        });
        Ok(tickets)
    }

    fn terms(&mut self, unit: Unit, until: Option<Steady>, ticket: Option<Ticket>) -> Terms {
        Terms {
            alone: true,
            until,
            in_place: true,
            // One step a transaction, to find out which one it is.
            careful: self.trouble.as_ref().is_some_and(|(other, _)| *other == unit),
            forced: None,
            steps: 0,
            ticket,
            single: false,
        }
    }

    /// Goes on with a turn whose last transaction had to be aborted, if nobody else has taken the run over.
    fn go_on(&mut self, interrupted: Interrupted, begun: Steady) {
        hints::holding();
        slots::set_idle(false);
        let id = interrupted.run_id();
        let version = interrupted.version();
        let run = runs::lock(&vec![id]).pop().filter(|run| run.version == version);
        // A pause may have come since: then the hint in the queue is dealt with.
        let goes_on = |run: &Locked| run.status.is_open() && pause::holding(run, &self.recall).is_none();
        let Some(run) = run.filter(goes_on) else {
            slots::set_unoccupied();
            return;
        };
        self.last_single = Some((id, None));
        let ticket = interrupted.ticket().and_then(ready::retake);
        let until = begun + self.recall.pace(|pace| pace.budget());
        let terms = self.terms((id, None), Some(until), ticket);
        let priority = i32::from(run.priority);
        let ended = scope::with_memory(|| Turn::go_on(interrupted, run, terms));
        let served: Vec<Ticket> = self.settle((id, None), priority, &ended).into_iter().collect();
        self.finish(&served, 1, begun);
    }

    /// What a turn's end means for the queue; returns the hint that is served.
    fn settle(&mut self, unit: Unit, priority: i32, ended: &Ended) -> Option<Ticket> {
        let run = unit.0;
        match ended.end {
            End::Settled => {
                if unit.1.is_none() {
                    self.trouble.take_if(|(other, _)| *other == unit);
                }
                ended.ticket
            }
            End::Yield => {
                // To the back of the queue: a chain of ten thousand steps must not keep the others waiting.
                ready::insert(self.owner, priority, run);
                ended.ticket
            }
            End::Elsewhere => {
                // The hint stays, for an executor, who has found it locked.
                hints::ready(self.owner);
                self.lifting.push(run);
                None
            }
            End::Alone => {
                self.single = self.single.max(1) + 1;
                if ended.ticket.is_none() {
                    ready::insert(self.owner, priority, run);
                }
                None
            }
        }
    }

    fn finish(&mut self, served: &[Ticket], turns: u32, begun: Steady) {
        if !self.recall.has_command() {
            slots::set_unoccupied();
        }
        send::flush_hints();
        let lowest = clock::lowest();
        if lowest < self.moved {
            restore_timers(&served.iter().map(|ticket| ticket.run_id).collect(), lowest);
        }
        ready::delete(served);
        fault("batch-done");
        let ended = steady();
        self.recall.pace(|pace| pace.observe(turns, ended - begun));
        self.ended = Some(ended);
        self.single = self.single.saturating_sub(1);
        self.failures = 0;
        if let Some((_, times)) = &mut self.trouble {
            // The turn itself went well: if anything fails now, it is the commit.
            *times = 1;
        }
    }

    /// Runs the command that the last transaction has begun, if it has: outside of any transaction. False if this process is
    /// not to go on.
    pub(crate) fn run_command(&mut self) -> bool {
        self.recall
            .take_command()
            .is_none_or(|command| command.run(&self.recall))
    }

    /// True if the last transaction was ended by an error that is part of a turn: it is aborted, and the next one goes on.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.recall.is_interrupted()
    }

    /// Locks the runs of a batch and sets those aside that another executor holds.
    fn lock(&mut self, tickets: &[Ticket]) -> Claimed {
        let mut ids: Vec<RunId> = Vec::with_capacity(tickets.len());
        let mut units: Vec<Branch> = Vec::new();
        for ticket in tickets {
            match ticket.branch {
                Some(unit)
                    if tasks::is_task(unit) || queues::of_unit(unit).is_some() || schedules::is_schedule(unit) => {}
                Some(branch) => units.push(branch),
                None if !ids.contains(&ticket.run_id) => ids.push(ticket.run_id),
                None => {}
            }
        }
        let branches = if units.is_empty() {
            Vec::new()
        } else {
            branches::lock(&units)
        };
        let locked = if ids.is_empty() { Vec::new() } else { runs::lock(&ids) };
        let mut elsewhere = HashSet::new();
        if locked.len() < ids.len() {
            ids.retain(|id| !locked.iter().any(|run| run.run_id == *id));
            for held in runs::existing(&ids) {
                // Announce first, look once more, then leave a run alone until its holder lets go: so the letting go is either
                // seen by the second look or comes after the announcement.
                slots::set_contended();
                if !self.suspects.insert(held) {
                    self.busy.push(held);
                }
                elsewhere.insert(held);
            }
        }
        Claimed {
            locked,
            branches,
            elsewhere,
        }
    }

    fn turn(&mut self, run: Locked, mut terms: Terms) -> Ended {
        let (id, ticket, steps) = (run.run_id, terms.ticket, terms.steps);
        let settled = || Ended {
            end: End::Settled,
            steps,
            ticket,
            committed: false,
        };
        if !run.status.is_open() {
            // What was still at work when its run ended answers nobody.
            answers::take(id);
            seats::end_run(&run);
            if run.status == Status::Continued {
                continued::forward(id);
            } else if run.controlled {
                inbox::take_cancels(id);
            }
            return settled();
        }
        let unit = (id, None);
        if self.trouble.as_ref().is_some_and(|(other, _)| *other == unit) {
            let stands = steps::stand(id);
            let by_others = !self.recall.take_commits() && stands != self.stood;
            if by_others && self.forced.take_if(|(other, _)| *other == unit).is_some() {
                // Another executor has gone on with it meanwhile: the step that is next now has not failed.
                self.trouble = None;
            }
            self.stood = stands;
        }
        let forced = self.forced.take_if(|(other, _)| *other == unit).map(|(_, error)| error);
        let in_vain = self
            .trouble
            .as_ref()
            .is_some_and(|(other, times)| *other == unit && *times > 2);
        match forced {
            Some(error) if in_vain => {
                turn::give_up(&run, &error);
                return settled();
            }
            forced => terms.forced = forced,
        }
        turn::take(run, terms, &self.recall)
    }

    fn branch_turn(&mut self, locked: &LockedBranch, run: Locked, mut terms: Terms) -> Ended {
        let unit = (locked.branch.run_id, Some(locked.branch));
        terms.forced = self.forced.take_if(|(other, _)| *other == unit).map(|(_, error)| error);
        branch::take(locked, run, terms, &self.recall)
    }

    /// The transaction of the last batch has failed with `error`. Returns how long to pause before the next, in
    /// microseconds.
    ///
    /// A batch of several is run again one by one. If a run fails alone, at its commit, one of its steps has done it (a
    /// deferred constraint, say): it is run again with a commit behind each step, and the step whose commit fails then
    /// counts as failed with that error. If it fails even so, no step has done it: the run itself fails.
    pub(crate) fn failed(&mut self, error: PgError) -> i64 {
        // That it runs was rolled back with the rest.
        self.recall.take_command();
        slots::drop_command(false);
        slots::set_unoccupied();
        self.failures += 1;
        if matches!(error.sqlstate, DISK_FULL | IO_ERROR) {
            // Nothing that a run has done, and no run is to fail for it: until it is better.
            self.last_single = None;
            self.recall.pace(|pace| pace.reset());
            return (FIRST_PAUSE << (self.failures - 1).min(10)).min(MAX_PAUSE);
        }
        match self.last_single.take() {
            Some(unit) => {
                let before = self
                    .trouble
                    .take_if(|(other, _)| *other == unit)
                    .map_or(0, |(_, times)| times);
                self.trouble = Some((unit, before + 1));
                self.forced = (before > 0).then_some((unit, error));
                self.single = self.single.max(1);
            }
            None => self.single = self.single.max(64),
        }
        self.recall.pace(|pace| pace.reset());
        if self.failures < 3 { 0 } else { 1_000_000 }
    }

    /// Someone may have let go of the runs that were set aside. True if there were any.
    pub(crate) fn forget_busy(&mut self) -> bool {
        self.suspects.clear();
        let lifting = std::mem::take(&mut self.lifting);
        !std::mem::take(&mut self.busy).is_empty() || !lifting.is_empty()
    }
}

/// Timers moved in one transaction.
const TIMER_BATCH: i32 = 1000;

/// Moves due timers behind a position to ready; returns the last one's position if there were any, and whether there may be
/// more due.
pub(crate) fn move_timers(after: timers::Position) -> (Option<timers::Position>, bool) {
    let now = clock::clock();
    let due = timers::move_due(now, TIMER_BATCH, after);
    let owners: HashSet<Oid> = due.iter().map(|(owner, _)| *owner).collect();
    owners.into_iter().for_each(hints::ready);
    limits::expire_starts(due.iter().map(|(_, position)| *position));
    if !due.is_empty() {
        // Before anybody can see them.
        moved::note(now);
        fault("timers-moved");
    }
    let last = due.iter().map(|(_, position)| *position).max();
    (last, due.len() == TIMER_BATCH as usize)
}

/// Runs whose hints may have come of timers that were due: by a clock that has been set back since it may not have been time yet, and
/// nothing else would wake them when it is. `behind`: the least that the clock has shown since.
fn restore_timers(runs: &Vec<RunId>, behind: Timestamp) {
    if let Some(due) = timers::restore(runs, behind) {
        hints::timer(due);
    }
}

/// Likewise for all hints that there are: how far the clock had come when the server was stopped is not known.
pub(crate) fn restore_all_timers() {
    /// Runs at a time.
    const PART: usize = 1000;
    let now = clock::clock();
    for part in ready::runs().chunks(PART) {
        restore_timers(&part.to_vec(), now);
    }
    moved::note(now);
}

/// Runs the current user's due work in this session until nothing is due.
pub(crate) fn run_pending(commits: Commits) {
    let owner = scope::current_user();
    slots::register(slots::Kind::Session, owner);
    let result = crate::pg::guard::catch(|| {
        let mut batcher = Batcher::new(owner);
        loop {
            txn::check_for_interrupts();
            let (more_timers, found) = scope::as_engine(|| {
                if !home::is_here() {
                    return (false, Found::Nothing);
                }
                (move_timers(timers::Position::START).1, batcher.take(commits))
            });
            if commits != Commits::No
                && let Err(error) = txn::commit_and_chain()
            {
                if matches!(error.sqlstate, QUERY_CANCELED | DISK_FULL | IO_ERROR) {
                    guard::throw(error);
                }
                errdata::log(error.clone());
                batcher.failed(error);
                continue;
            }
            if found == Found::Nothing && !more_timers {
                return;
            }
        }
    });
    slots::release();
    result.unwrap_or_else(|error| crate::pg::guard::throw(error))
}
