//! The scheduler: one a database. Moves due timers to the ready queue and starts executors where they are missing; in
//! between it removes what has ended (`cleaner`).

use std::collections::{HashMap, HashSet};

use pg_workflow_core::sparing::Sparing;

use crate::engine::schedule::fire;
use crate::engine::{batch, command, crash};
use crate::hub::slots::{self, Kind};
use crate::hub::{databases, hands, wal};
use crate::pg::clock::{Steady, steady, when};
use crate::pg::process::{self, WorkerSpec, worker_main};
use crate::pg::{Oid, PgError, Timestamp, clock, errdata, fault, latch, scope, txn};
use crate::settings;
use crate::store::home::{self, Home};
use crate::store::{ready, timers};

use super::Belongs;
use super::cleaner::Cleaner;

worker_main!(pg_workflow_scheduler, main);

/// Pause before a timer that is due and locked is looked at again.
const LOCKED_PAUSE: i64 = 50_000;

/// Pause between starts of further executors of a role: one takes about this long to come up.
const SPAWN_PAUSE: i64 = 20_000;

/// Pause before an executor is started again for a role whose last one did not come up.
const RESTART_PAUSE: i64 = 1_000_000;

fn main(database: Oid) {
    process::install_signal_handlers();
    process::connect(Some(database), None);
    if !slots::register(Kind::Scheduler, scope::current_user()) {
        return;
    }
    let mut scheduler = Scheduler {
        database,
        moved: timers::Position::START,
        owners: Vec::new(),
        from_start: Sparing::default(),
        spared: false,
        started: HashMap::new(),
        requested: HashSet::new(),
        complained: false,
        idling: false,
        recovered: false,
        cleaner: Cleaner::new(),
        held: None,
    };
    let mut belongs = Belongs::NotNow;
    loop {
        txn::check_for_interrupts();
        process::reload_if_asked();
        if slots::asked_to_quit() {
            return;
        }
        // Looked at when something may have changed, not at every timer.
        if slots::take_recheck() || belongs != Belongs::Yes {
            belongs = super::belongs();
            scheduler.recovered = false;
        }
        let next = match belongs {
            Belongs::NoExtension => {
                databases::unwant_scheduler(database);
                return;
            }
            Belongs::NotNow => {
                scheduler.idle_once();
                None
            }
            Belongs::Yes => scheduler.work().unwrap_or_else(|error| {
                errdata::log(error);
                belongs = Belongs::NotNow;
                Some(clock() + RESTART_PAUSE)
            }),
        };
        wal::count();
        process::report_stats();
        process::report_idle();
        latch::wait_until(next);
    }
}

/// The last start of an executor for a role.
#[derive(Default)]
struct Start {
    at: Steady,
    /// Starts in a row after which no executor was seen.
    in_vain: u32,
}

/// What the scheduler has found.
struct Look {
    /// More timers may be due.
    more: bool,
    next: Option<Timestamp>,
    /// Roles with ready runs.
    owners: Vec<Oid>,
}

struct Scheduler {
    database: Oid,
    /// The timer that was moved last.
    moved: timers::Position,
    owners: Vec<Oid>,
    /// Looks at all timers and all of the queue, past rows that were deleted and that an old snapshot keeps.
    from_start: Sparing,
    /// The last look was not from the start: one is owed.
    spared: bool,
    /// When an executor was last started for a role.
    started: HashMap<Oid, Start>,
    /// Roles for which one executor more was asked for.
    requested: HashSet<Oid>,
    complained: bool,
    idling: bool,
    /// What was found running when it began has been looked at, and what is for the start of the server.
    recovered: bool,
    cleaner: Cleaner,
    /// When the first of those is to go on that have crashed the server.
    held: Option<Timestamp>,
}

impl Scheduler {
    /// Says once why nothing is run here.
    fn idle_once(&mut self) {
        slots::set_next_due(Some(i64::MIN));
        if !std::mem::replace(&mut self.idling, true) {
            let why = txn::transaction(|| scope::as_engine(super::why_not)).ok().flatten();
            errdata::log_text(format!(
                "pg_workflow runs nothing in database {}: {}see wf_health() there",
                self.database.to_u32(),
                why.map(|why| why + "; ").unwrap_or_default()
            ));
        }
    }

    /// Looks at timers and ready runs: at all of them, unless that has become dear (see [`Sparing`]); then at the timers
    /// behind those that were moved last, and for the roles that had ready runs last.
    fn look(&mut self) -> Look {
        if !self.recovered {
            fire::server_started();
            crash::count();
            fault("crashes-counted");
            batch::restore_all_timers();
        }
        if !self.recovered || self.held.is_some_and(|until| until <= clock()) {
            self.held = crash::release();
        }
        if slots::take_abandoned() || !self.recovered {
            command::recover();
        }
        let begun = steady();
        self.spared = !self.from_start.is_due(begun);
        let after = if self.spared {
            self.moved
        } else {
            timers::Position::START
        };
        let (last, more) = batch::move_timers(after);
        // From where the look began: one that was passed over, locked by a turn that may yet roll back, is not to be lost.
        let next = timers::next(after);
        if let Some(last) = last {
            self.moved = last;
        }
        if !self.spared {
            self.owners = ready::owners();
            self.from_start.observe(begun, steady());
        }
        Look {
            more,
            next,
            owners: self.owners.clone(),
        }
    }

    /// Does what is due; returns when to look again.
    fn work(&mut self) -> Result<Option<Timestamp>, PgError> {
        process::report_running("pg_workflow: timers and executors");
        // Announced before the look: a timer that is committed after it wakes us.
        slots::set_next_due(None);
        // Asked each time: rows of another installation may have been restored since.
        let looked = txn::transaction(|| {
            scope::as_engine(|| match home::find() {
                Home::Here => Ok(self.look()),
                other => Err(other),
            })
        })?;
        let Look { more, next, mut owners } = match looked {
            Ok(look) => look,
            Err(home) => {
                if home == Home::Elsewhere {
                    self.idle_once();
                }
                return Ok(None);
            }
        };
        self.idling = false;
        if !std::mem::replace(&mut self.recovered, true) {
            hands::forget_lost();
        }
        slots::set_next_due(next);
        let now = clock();
        let mut again = match next {
            _ if more => Some(now),
            // Due and not moved: its run's turn has it locked to delete it. Not to be waited for by spinning.
            Some(due) => Some(if due <= now { now + LOCKED_PAUSE } else { due }),
            None => None,
        };
        again = again.into_iter().chain(self.held).min();
        for (role, start) in &mut self.started {
            if slots::executors(self.database, *role).0 > 0 {
                start.in_vain = 0;
            }
        }
        if self.spared {
            again = again.into_iter().chain([when(self.from_start.next())]).min();
        }
        self.requested.extend(slots::take_requests(self.database));
        if self.spared {
            owners.extend(self.requested.iter().filter(|role| !self.owners.contains(role)));
        }
        self.requested.retain(|role| owners.contains(role));
        for role in owners {
            if let Some(at) = self.provide(role) {
                again = again.into_iter().chain([when(at)]).min();
            }
        }
        Ok([again, self.cleaner.work()].into_iter().flatten().min())
    }

    /// Sees to it that a role with work has an executor (one more, if that was asked for and all are busy). Returns when to try again.
    fn provide(&mut self, role: Oid) -> Option<Steady> {
        let (count, idle) = slots::executors(self.database, role);
        let more = self.requested.contains(&role);
        if idle || count >= settings::max_executors() {
            self.requested.remove(&role);
            if idle {
                slots::wake_executor(self.database, role);
            }
            return None;
        }
        if count > 0 && !more {
            return None;
        }
        let now = steady();
        let start = self.started.entry(role).or_default();
        let due = if count > 0 {
            // The last one may still be on its way, and be enough.
            start.in_vain = 0;
            start.at + SPAWN_PAUSE
        } else {
            // Just started and not there yet, or gone again at once (no CONNECT privilege, role limit reached, role
            // dropped): then at growing distances, for each try leaves a line in the log.
            match start.in_vain {
                0 => now,
                tries => start.at + (RESTART_PAUSE << (tries - 1).min(6)),
            }
        };
        if now < due {
            return Some(due);
        }
        let name = txn::transaction(|| scope::role_exists(role).then(|| crate::pg::fmgr::role_name(role)));
        let Ok(Some(name)) = name else {
            // Dropped: nobody can connect as it. wf_cancel ends what it has left.
            self.requested.remove(&role);
            return None;
        };
        let spec = WorkerSpec {
            kind: "pg_workflow executor",
            title: &format!(
                "pg_workflow executor for role {name} in database {}",
                self.database.to_u32()
            ),
            function: "pg_workflow_executor",
            database: self.database,
            role,
        };
        if process::start_dynamic(&spec) {
            self.complained = false;
            self.requested.remove(&role);
            let start = self.started.entry(role).or_default();
            start.at = now;
            start.in_vain += u32::from(count == 0);
            return None;
        }
        if count > 0 {
            self.requested.remove(&role);
            return None;
        }
        // No slot free and the role has no executor at all: an idle one of another role gives way.
        slots::make_room(self.database, role);
        if !std::mem::replace(&mut self.complained, true) {
            super::log_no_slot(&format!(
                "an executor of role {name} in database {}",
                self.database.to_u32()
            ));
        }
        Some(now + RESTART_PAUSE)
    }
}
