//! Removes instances whose time of retention is over: a part of the scheduler, which takes turns with its other duties.
//!
//! A sweep is taken in parts of some 20 ms, each a transaction, with rests as long. It begins when something may have come of
//! age, which is known from the ids of runs and the ends of those that were passed over. Where nothing is known to come, the
//! scheduler asks to be told of the next run that ends. So where nothing ends, nothing is looked at.
//!
//! A sweep begins behind what the last one has looked at, where the rows are that have come of age since, past index entries
//! of removed runs that an old snapshot keeps. What was passed over (open runs; those that are kept for longer) is found by a
//! sweep from the start, for which a twentieth of the time may be used.

use pg_workflow_core::retention::{patience, period};
use pg_workflow_core::sparing::Sparing;

use crate::engine::purge;
use crate::engine::retention::Sweep;
use crate::hub::slots;
use crate::pg::clock::{Steady, steady, when};
use crate::pg::{RunId, Timestamp, clock, errdata, interrupt, process, scope, txn};
use crate::settings;
use crate::store::{home, retention};

const START: RunId = RunId([0; 16]);

/// Pause behind a sweep that has failed.
const FAILED_PAUSE: i64 = 60_000_000;

/// What the look for versions that no run needs may take: it may have to look at all runs.
const TIDY_PATIENCE: i64 = 1_000_000;

/// Records of what was done that are removed with one sweep.
const ACTIONS: i32 = 1000;

/// Settings by which it is decided.
type Setting = (bool, Option<i64>);

pub(super) struct Cleaner {
    setting: Option<Setting>,
    /// When the next sweep begins; `None`: when a run has ended.
    next: Option<Timestamp>,
    sweep: Option<Sweep>,
    /// The sweep is from the start.
    full: bool,
    /// Until when it rests, between two parts or behind an error.
    rests: Steady,
    /// Everything before this run has been looked at.
    front: RunId,
    /// When something before it comes of age.
    left: Option<Timestamp>,
    /// When something comes of age that ended since the last sweep from the start began.
    told: Option<Timestamp>,
    /// Least age of what may go, as the last sweep found it.
    least: Option<i64>,
    /// The last wait because of something that could not be removed.
    patience: i64,
    from_start: Sparing,
    tidying: Sparing,
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other].into_iter().flatten().min()
}

impl Cleaner {
    pub(super) fn new() -> Self {
        Self {
            setting: None,
            next: Some(Timestamp::MIN),
            sweep: None,
            full: true,
            rests: Steady::MIN,
            front: START,
            left: None,
            told: None,
            least: None,
            patience: 0,
            from_start: Sparing::default(),
            tidying: Sparing::default(),
        }
    }

    /// Does what is due; returns when to come again. Outside of a transaction, in a database that is its rows' home.
    pub(super) fn work(&mut self) -> Option<Timestamp> {
        let setting = (settings::background_purge(), settings::retention());
        // Both are asked: what is told is told once.
        if slots::take_rules_changed() | (self.setting != Some(setting)) {
            *self = Self {
                setting: Some(setting),
                ..Self::new()
            };
        }
        if !setting.0 {
            return None;
        }
        let now = clock();
        if slots::take_end() {
            self.note_end(now);
        }
        if self.sweep.is_none() && self.next.is_none_or(|next| next > now) {
            return self.next;
        }
        if self.rests > steady() {
            return Some(when(self.rests));
        }
        let begun = steady();
        process::report_running("pg_workflow: retention");
        match txn::transaction(|| scope::as_engine(|| home::is_here().then(|| self.part()))) {
            Ok(Some(())) => {}
            Ok(None) => return None,
            Err(error) => {
                errdata::log(error);
                self.sweep = None;
                self.next = Some(now);
                self.rests = steady() + FAILED_PAUSE;
                return Some(when(self.rests));
            }
        }
        if self.sweep.is_some() {
            let ended = steady();
            self.rests = ended + (ended - begun);
            return Some(when(self.rests));
        }
        self.next
    }

    /// A run has ended: it comes of age at the least age from now.
    fn note_end(&mut self, now: Timestamp) {
        let Some(least) = self.least else { return };
        let due = now.checked_add(least);
        self.told = earlier(self.told, due);
        let due = due.map(|due| due.max(when(self.from_start.next())).max(now + period(least)));
        if self.next.is_none()
            && let Some(due) = due
            && self.sweep.is_none()
            && let Err(error) = txn::transaction(|| scope::as_engine(|| retention::note_due(Some(due))))
        {
            errdata::log(error);
        }
        self.next = earlier(self.next, due);
    }

    /// A part of a sweep, the first one included. In a transaction.
    fn part(&mut self) {
        if self.sweep.is_none() {
            self.full = self.from_start.is_due(steady());
            // Before the look: what ends behind it is told.
            slots::expect_end();
            self.sweep = Sweep::begin(if self.full { START } else { self.front });
            self.least = self.sweep.as_ref().map(|sweep| sweep.least);
            if self.full {
                self.told = None;
            }
        }
        let more = self.sweep.as_mut().is_some_and(Sweep::take_part);
        if !more {
            match self.sweep.take() {
                Some(sweep) => self.end(&sweep),
                None => {
                    self.next = None;
                    retention::note_due(None);
                }
            }
        }
    }

    fn end(&mut self, sweep: &Sweep) {
        let now = clock();
        if self.full {
            let ended = steady();
            self.from_start.observe(ended - sweep.looked, ended);
            self.left = None;
        }
        self.front = self.front.max(sweep.at);
        self.left = earlier(self.left, sweep.left);
        self.patience = patience(if sweep.removed > 0 { 0 } else { self.patience });
        let again = sweep.undone.then_some(now + self.patience.max(period(sweep.least)));
        let behind = earlier(earlier(self.left, self.told), again).map(|at| at.max(when(self.from_start.next())));
        self.next = earlier(sweep.beyond(), behind).map(|at| at.max(now + period(sweep.least)));
        self.tidy(now, sweep.removed > 0);
        retention::note_ended(now, self.next);
    }

    /// Removes what no run needs any more, if that can be found out soon.
    fn tidy(&mut self, now: Timestamp, removed: bool) {
        let begun = steady();
        if !removed || !self.tidying.is_due(begun) {
            return;
        }
        interrupt::arm(TIDY_PATIENCE);
        let tidied = txn::subtransaction(|| {
            purge::forget_versions();
            if let Some(before) = settings::retention().map(|age| now.saturating_sub(age)) {
                retention::remove_actions(before, ACTIONS);
            }
        });
        let late = interrupt::disarm();
        self.tidying.observe(begun, steady());
        if let Err(error) = tidied
            && !late
        {
            errdata::log(error);
        }
    }
}
