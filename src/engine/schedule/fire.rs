//! Acting on a schedule: under its row's lock, by an executor of its owner, in the transaction of a batch.
//!
//! The run of a tick is inserted and the next tick is set in one transaction. So a tick has one run, whatever crashes and
//! whoever else has a hint; and a tick that is dealt with stays so, also when the clock is set back.

use pg_workflow_core::ticks::{self, Backlog, CatchUp, GRACE, Rule, stamp};

use crate::engine::schedule::times::Times;
use crate::engine::schedule::{Overlap, RUN_SQL, due, set_timer, start_options};
use crate::engine::send;
use crate::engine::start::{self, OnConflict, Start};
use crate::hub::{hands, hints, slots};
use crate::pg::errdata::{QUERY_CANCELED, pack};
use crate::pg::{Interval, Json, Oid, PgError, RunId, Timestamp, clock, errdata, fault, guard, scope, txn};
use crate::store::runs::{self, Parent};
use crate::store::schedules::{self, Schedule};
use crate::store::{inbox, ready, timers};

use super::PRIORITY;

/// Pause before a schedule is looked at again that somebody is changing, in microseconds: nobody tells when that transaction is
/// rolled back.
const LOCKED_PAUSE: i64 = 1_000_000;

/// Pause before a query is asked again that has no time to give, in microseconds.
const ASK_AGAIN: i64 = 3_600_000_000;

/// Pause before a query is asked again that has failed; it doubles each time, up to [`ASK_AGAIN`].
const FAILED_PAUSE: i64 = 60_000_000;

/// Ticks dealt with in one transaction.
const MAX_TICKS: usize = 100;

/// Missed ticks that are counted; of a query, each is asked for.
const COUNTED: u64 = 10_000;
const COUNTED_ASKED: u64 = 50;

const DUPLICATE: i32 = pack(*b"42710");

/// What is done about a tick.
#[derive(PartialEq, Eq)]
enum Dealt {
    Done,
    /// It is not its turn before an open run has ended, which tells.
    Waits,
}

/// A timer of a schedule was due, a run of it has ended, or somebody has changed it. False if it wants a transaction with
/// nothing else in it. As the engine.
pub(in crate::engine) fn act(id: RunId, owner: Oid, alone: bool) -> bool {
    let now = clock();
    let Some(mut row) = schedules::try_lock(id, owner) else {
        if schedules::owner(id) == Some(owner) {
            let again = now + LOCKED_PAUSE;
            timers::insert_branch(again, schedules::unit(id), owner, PRIORITY);
            hints::timer(again);
        }
        return true;
    };
    hands::hold(id, "");
    let next = match Times::of(&row) {
        Ok(times) if times.is_query() && !alone => return false,
        Ok(times) => {
            let next = go_on(&mut row, &times, now);
            if next.is_ok() {
                row.failures = 0;
            }
            next
        }
        Err(error) => Err(error.into()),
    };
    let next = next.unwrap_or_else(|error| {
        let pause = (FAILED_PAUSE << row.failures.clamp(0, 6)).min(ASK_AGAIN);
        row.failures += 1;
        note(&mut row, "could not get its next time", error, now);
        Some(now + pause)
    });
    fault("schedule-fires");
    set_timer(&mut row, next);
    schedules::update(&row);
    true
}

/// Deals with what is due; returns when to look again, if nobody tells.
fn go_on(row: &mut Schedule, times: &Times, now: Timestamp) -> Result<Option<Timestamp>, PgError> {
    if !row.open_ids.is_empty() {
        row.open_ids = schedules::open(&row.open_ids);
    }
    if let Some(asked) = row.asked_at.take() {
        fire(row, asked, asked, now);
    }
    if row.paused {
        return Ok(None);
    }
    if row.open_ids.is_empty()
        && let Some(tick) = row.queued_at.take()
    {
        let due = due(row, tick);
        fire(row, tick, due, now);
    }
    if row.next_at.is_none() {
        row.next_at = times.next(row.after_at)?;
    }
    let rule = Rule {
        catch_up: CatchUp::from_name(&row.catch_up).unwrap_or(CatchUp::None),
        window: row.catch_up_window,
        counted: if times.is_query() { COUNTED_ASKED } else { COUNTED },
    };
    for _ in 0..MAX_TICKS {
        let Some(first) = row.next_at else {
            return Ok(times.is_query().then_some(now + ASK_AGAIN));
        };
        if due(row, first) > now {
            return Ok(Some(due(row, first)));
        }
        let chosen = if times.is_query() && now - due(row, first) <= GRACE {
            // Whatever has become of the query since.
            Backlog {
                tick: Some(first),
                missed: 0,
            }
        } else {
            ticks::choose(first, now - row.jitter, rule, |after| times.next(after))?
        };
        row.missed += i64::try_from(chosen.missed).unwrap_or(i64::MAX);
        row.next_at = chosen.tick;
        row.after_at = chosen.tick.map_or(now, |tick| tick - 1);
        let Some(tick) = chosen.tick.filter(|tick| due(row, *tick) <= now) else {
            continue;
        };
        if deal(row, tick, rule.catch_up, now) == Dealt::Waits {
            return Ok(None);
        }
        row.after_at = tick;
        // None, should the next line fail.
        row.next_at = None;
        row.next_at = times.next(tick)?;
    }
    Ok(Some(now))
}

fn deal(row: &mut Schedule, tick: Timestamp, catch_up: CatchUp, now: Timestamp) -> Dealt {
    let due = due(row, tick);
    let overlap = Overlap::from_name(&row.overlap).unwrap_or(Overlap::Skip);
    if row.open_ids.is_empty() || overlap == Overlap::Allow {
        fire(row, tick, due, now);
        return Dealt::Done;
    }
    if catch_up == CatchUp::All && now - due > GRACE {
        // It would be skipped otherwise, as all that were missed have their time at once.
        return Dealt::Waits;
    }
    let waited = row.queued_at.is_some();
    match overlap {
        Overlap::QueueOne if !waited => row.queued_at = Some(tick),
        Overlap::Cancel => {
            row.queued_at = Some(tick);
            if waited {
                row.skipped += 1;
            } else {
                cancel_open(row, now);
            }
        }
        _ => row.skipped += 1,
    }
    Dealt::Done
}

/// Starts the run of a tick. An error is that tick's, and the others go on.
fn fire(row: &mut Schedule, tick: Timestamp, due: Timestamp, now: Timestamp) {
    match start_run(row, tick) {
        Ok(id) => {
            row.fired += 1;
            row.last_tick = Some(tick);
            row.fired_at = Some(now);
            row.fired_due = Some(due);
            row.open_ids.push(id.clone());
            row.last_id = Some(id);
        }
        Err(error) if error.sqlstate == QUERY_CANCELED && slots::stops_here() => guard::throw(error),
        Err(error) => {
            row.failed += 1;
            note(row, "could not start its workflow", error, now);
        }
    }
}

/// Starts a run as the owner; returns its id: the name and the tick, with the schedule's own number behind them if somebody
/// else has taken that.
fn start_run(row: &Schedule, tick: Timestamp) -> Result<String, PgError> {
    let id = format!("{}/{}", row.name, stamp(tick + super::EPOCH));
    match start_as(row, tick, id.clone()) {
        Err(error) if error.sqlstate == DUPLICATE => start_as(row, tick, format!("{id}/{}", row.id)),
        started => started,
    }
}

fn start_as(row: &Schedule, tick: Timestamp, id: String) -> Result<String, PgError> {
    let options = start_options(row);
    let input = super::input_for(row, tick);
    let start = Start {
        workflow: row.workflow.clone().unwrap_or_else(|| RUN_SQL.to_owned()),
        input,
        id: Some(id.clone()),
        start_at: None,
        delay: None,
        priority: options.priority,
        timeout: options.timeout.map(Interval::from_micros),
        start_timeout: None,
        on_conflict: OnConflict::Fail,
    };
    let parent = Parent {
        run_id: row.id,
        n: timers::SCHEDULE,
        item: 0,
    };
    scope::as_owner(row.owner, &row.search_path, || {
        txn::subtransaction(|| start::start_child(start, parent, 0).unwrap_or_else(|error| error.throw()))
    })
    .map(|()| id)
}

fn cancel_open(row: &Schedule, now: Timestamp) {
    let reason = format!("Schedule \"{}\" has come to its next time", row.name);
    for run in row.open_ids.iter().filter_map(|id| runs::find(id)) {
        if run.status.is_open() {
            inbox::ask(run.run_id, inbox::Action::Cancel, Some(&reason), now, row.owner);
            hints::cancelled(run.run_id);
            send::tell(run.run_id, run.owner, run.priority);
        }
    }
}

/// Keeps an error for the eye, in the row and in the log.
fn note(row: &mut Schedule, what: &str, error: PgError, now: Timestamp) {
    row.error = Some(Json::from_value(&error.to_json()));
    row.failed_at = Some(now);
    errdata::log(PgError {
        message: format!("schedule \"{}\" {what}: {}", row.name, error.message),
        ..error
    });
}

/// The scheduler has started, perhaps with the server. As the engine.
pub(crate) fn server_started() {
    schedules::wake_for_start(PRIORITY);
}

/// A run of a schedule has ended: it may have kept a tick waiting. As the engine.
pub(in crate::engine) fn run_ended(schedule: RunId, owner: Oid) {
    let unit = schedules::unit(schedule);
    ready::insert_branches(owner, PRIORITY, schedule, unit.n, unit.item, unit.item);
    hints::ready(owner);
}
