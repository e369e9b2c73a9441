//! Counters: what has happened to the instances of each workflow, since the server started and lately.
//!
//! A place an owner and workflow of a database; what finds none free is counted in the first, together. A process notes what
//! happens and counts it when the transaction has committed in which it has happened: what was rolled back, as a whole or to
//! a savepoint, has not happened. Behind one lightweight lock, taken once a commit, a leaf as that of `state`.

use std::cell::RefCell;

use pg_workflow_core::histogram::{self, BUCKETS};

use super::{hints, pollers};
use crate::pg::shared_array::SharedArray;
use crate::pg::{Oid, RunId, Timestamp, callback, clock, process, txn};
use crate::settings;

/// Bytes of a workflow's name that are kept.
const NAME: usize = 128;
/// SQLSTATEs that are counted one by one; what comes after them is counted together, under SQLSTATE 0.
const CODES: usize = 16;

/// How finely the past is kept: for each of these lengths of time, in microseconds, so many of them.
pub(crate) const RESOLUTIONS: [(&str, i64, usize); 3] = [
    ("5 s", 5_000_000, 13),
    ("1 min", 60_000_000, 61),
    ("1 h", 3_600_000_000, 25),
];
const CELLS: usize = RESOLUTIONS[0].2 + RESOLUTIONS[1].2 + RESOLUTIONS[2].2;

/// Something that has happened. Times are in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Started,
    /// The first turn, so long after it could have begun.
    Begun(i64),
    /// After so long since then; `None`: it never began.
    Completed(Option<i64>),
    Failed(Option<i64>, i32),
    Cancelled,
    Continued,
    /// An attempt of a step has succeeded.
    Step(i64),
    StepFailed(i32),
    StepRetried,
}

/// How many instances.
#[derive(Clone, Copy)]
pub(crate) struct Counts<N> {
    pub(crate) started: N,
    pub(crate) completed: N,
    pub(crate) failed: N,
    pub(crate) cancelled: N,
    /// Until they began, and from then to their end.
    pub(crate) queue: [N; BUCKETS],
    pub(crate) run: [N; BUCKETS],
}

/// One length of time.
#[derive(Clone, Copy)]
struct Cell {
    /// Its beginning, in such lengths since 2000.
    number: i64,
    counts: Counts<u32>,
}

/// What is counted of a workflow.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) database: Oid,
    pub(crate) owner: Oid,
    digest: u64,
    length: usize,
    name: [u8; NAME],
    pub(crate) total: Counts<u64>,
    pub(crate) continued: u64,
    /// Of all times in each histogram, in microseconds.
    pub(crate) queue_time: u64,
    pub(crate) run_time: u64,
    pub(crate) step_time: u64,
    pub(crate) steps: [u64; BUCKETS],
    pub(crate) steps_retried: u64,
    pub(crate) failures: [(i32, u64); CODES],
    pub(crate) step_failures: [(i32, u64); CODES],
    cells: [Cell; CELLS],
}

impl Counts<u32> {
    const NONE: Self = Self {
        started: 0,
        completed: 0,
        failed: 0,
        cancelled: 0,
        queue: [0; BUCKETS],
        run: [0; BUCKETS],
    };
}

impl Counts<u64> {
    const NONE: Self = Self {
        started: 0,
        completed: 0,
        failed: 0,
        cancelled: 0,
        queue: [0; BUCKETS],
        run: [0; BUCKETS],
    };

    fn add(&mut self, other: &Counts<u32>) {
        self.started += u64::from(other.started);
        self.completed += u64::from(other.completed);
        self.failed += u64::from(other.failed);
        self.cancelled += u64::from(other.cancelled);
        for (sums, counts) in [(&mut self.queue, &other.queue), (&mut self.run, &other.run)] {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += u64::from(*count);
            }
        }
    }
}

/// Counts what both kinds of counts have in common.
macro_rules! count {
    ($counts:expr, $event:expr) => {
        match $event {
            Event::Started => $counts.started += 1,
            Event::Begun(delay) => $counts.queue[histogram::bucket(delay)] += 1,
            Event::Completed(took) => {
                $counts.completed += 1;
                if let Some(took) = took {
                    $counts.run[histogram::bucket(took)] += 1;
                }
            }
            Event::Failed(took, _) => {
                $counts.failed += 1;
                if let Some(took) = took {
                    $counts.run[histogram::bucket(took)] += 1;
                }
            }
            Event::Cancelled => $counts.cancelled += 1,
            Event::Continued | Event::Step(_) | Event::StepFailed(_) | Event::StepRetried => {}
        }
    };
}

fn count_code(codes: &mut [(i32, u64); CODES], code: i32) {
    let last = CODES - 1;
    let known = codes[..last]
        .iter()
        .position(|(other, count)| *other == code || *count == 0);
    let place = &mut codes[known.unwrap_or(last)];
    place.0 = if known.is_some() { code } else { 0 };
    place.1 += 1;
}

impl Place {
    const FREE: Self = Self {
        database: Oid::INVALID,
        owner: Oid::INVALID,
        digest: 0,
        length: 0,
        name: [0; NAME],
        total: Counts::<u64>::NONE,
        continued: 0,
        queue_time: 0,
        run_time: 0,
        step_time: 0,
        steps: [0; BUCKETS],
        steps_retried: 0,
        failures: [(0, 0); CODES],
        step_failures: [(0, 0); CODES],
        cells: [Cell {
            number: 0,
            counts: Counts::<u32>::NONE,
        }; CELLS],
    };

    /// Its workflow; `None`: those that have found no place.
    pub(crate) fn workflow(&self) -> Option<String> {
        (self.database != Oid::INVALID).then(|| String::from_utf8_lossy(&self.name[..self.length]).into_owned())
    }

    fn is_of(&self, database: Oid, owner: Oid, digest: u64) -> bool {
        self.database == database && self.owner == owner && self.digest == digest
    }

    fn count(&mut self, event: Event, now: Timestamp) {
        let length = |micros: i64| micros.max(0).unsigned_abs();
        match event {
            Event::Begun(delay) => self.queue_time += length(delay),
            Event::Completed(Some(took)) => self.run_time += length(took),
            Event::Failed(took, code) => {
                self.run_time += took.map_or(0, length);
                count_code(&mut self.failures, code);
            }
            Event::Continued => self.continued += 1,
            Event::Step(took) => {
                self.steps[histogram::bucket(took)] += 1;
                self.step_time += length(took);
            }
            Event::StepFailed(code) => count_code(&mut self.step_failures, code),
            Event::StepRetried => self.steps_retried += 1,
            Event::Started | Event::Completed(None) | Event::Cancelled => {}
        }
        count!(self.total, event);
        let mut first = 0;
        for (_, width, cells) in RESOLUTIONS {
            let number = now.div_euclid(width);
            let cell = &mut self.cells[first + number.rem_euclid(cells as i64) as usize];
            if cell.number != number {
                *cell = Cell {
                    number,
                    counts: Counts::<u32>::NONE,
                };
            }
            count!(cell.counts, event);
            first += cells;
        }
    }

    /// The lengths of time of a resolution that are kept and in which something has happened, with their beginnings.
    pub(crate) fn past(&self, resolution: usize, now: Timestamp) -> impl Iterator<Item = (Timestamp, Counts<u64>)> {
        let first: usize = RESOLUTIONS[..resolution].iter().map(|(_, _, cells)| cells).sum();
        let (_, width, cells) = RESOLUTIONS[resolution];
        let kept = kept(now.div_euclid(width), cells);
        self.cells[first..first + cells]
            .iter()
            .filter(move |cell| kept.contains(&cell.number))
            .map(move |cell| {
                let mut counts = Counts::<u64>::NONE;
                counts.add(&cell.counts);
                (cell.number * width, counts)
            })
    }

    /// All that is kept in a resolution, together.
    pub(crate) fn lately(&self, resolution: usize, now: Timestamp) -> Counts<u64> {
        let first: usize = RESOLUTIONS[..resolution].iter().map(|(_, _, cells)| cells).sum();
        let (_, width, cells) = RESOLUTIONS[resolution];
        let kept = kept(now.div_euclid(width), cells);
        let mut sum = Counts::<u64>::NONE;
        for cell in self.cells[first..first + cells]
            .iter()
            .filter(|cell| kept.contains(&cell.number))
        {
            sum.add(&cell.counts);
        }
        sum
    }
}

/// The lengths of time that are kept while it is the one of this number. Later ones are of before the clock was set back.
fn kept(number: i64, cells: usize) -> std::ops::RangeInclusive<i64> {
    number - cells as i64 + 1..=number
}

static PLACES: SharedArray<Place> = SharedArray::new(c"pg_workflow metrics");

pub(super) fn request() {
    PLACES.request(settings::metrics_workflows() + 1);
}

pub(super) fn startup() {
    PLACES.startup(&Place::FREE);
}

/// True if events are to be noted.
pub(crate) fn enabled() -> bool {
    settings::metrics() && PLACES.len() > 0
}

/// The number of a workflow's place in this database.
pub(crate) fn place(owner: Oid, workflow: &str) -> usize {
    let (database, digest) = (process::my_database(), pollers::digest(workflow));
    let found = PLACES.with(|places| {
        // Places are never given back: the first that is free is behind all that are taken.
        let at = places[1..]
            .iter()
            .position(|place| place.is_of(database, owner, digest) || place.database == Oid::INVALID)?;
        let place = &mut places[1 + at];
        if place.database == Oid::INVALID {
            let shown = shorten(workflow, digest);
            place.database = database;
            place.owner = owner;
            place.digest = digest;
            place.length = shown.len();
            place.name[..shown.len()].copy_from_slice(shown.as_bytes());
        }
        Some(1 + at)
    });
    found.flatten().unwrap_or(0)
}

/// A name that is too long ends with a digest, so that it is like no other.
fn shorten(workflow: &str, digest: u64) -> String {
    if workflow.len() <= NAME {
        return workflow.to_owned();
    }
    let mut end = NAME - 17;
    while !workflow.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{digest:016x}", &workflow[..end])
}

struct Noted {
    place: usize,
    event: Event,
    /// The subtransaction that it has happened in: see [`txn::nest_level`].
    level: i32,
}

#[derive(Default)]
struct Pending {
    noted: Vec<Noted>,
    /// The run that has begun last in this transaction.
    begun: Option<RunId>,
}

thread_local! {
    static PENDING: RefCell<Pending> = RefCell::new(Pending::default());
}

/// Something has happened in the current transaction.
pub(crate) fn note(place: usize, event: Event) {
    hints::watch();
    callback::at_subtransaction_end(on_subtransaction_end);
    let level = txn::nest_level();
    PENDING.with_borrow_mut(|pending| pending.noted.push(Noted { place, event, level }));
}

/// A run's first turn is about to be written; once a transaction.
pub(crate) fn note_begun(place: usize, run: RunId, delay: i64) {
    let before = PENDING.with_borrow_mut(|pending| pending.begun.replace(run));
    if before != Some(run) {
        note(place, Event::Begun(delay));
    }
}

fn on_subtransaction_end(committed: bool, level: i32) {
    PENDING.with_borrow_mut(|pending| {
        // What was noted last is of the innermost.
        let inner = pending
            .noted
            .iter()
            .rev()
            .take_while(|noted| noted.level >= level)
            .count();
        if inner == 0 {
            return;
        }
        let outer = pending.noted.len() - inner;
        if committed {
            pending.noted[outer..]
                .iter_mut()
                .for_each(|noted| noted.level = level - 1);
        } else {
            pending.noted.truncate(outer);
            pending.begun = None;
        }
    });
}

pub(super) fn on_end(committed: bool) {
    let noted = PENDING.with_borrow_mut(|pending| {
        pending.begun = None;
        std::mem::take(&mut pending.noted)
    });
    if committed && !noted.is_empty() {
        let now = clock();
        PLACES.with(|places| {
            for Noted { place, event, .. } in noted {
                places[place].count(event, now);
            }
        });
    }
}

/// Copies of the places of this database and of the first, one after the other: the lock is not held for long.
pub(crate) fn places() -> impl Iterator<Item = Box<Place>> {
    let database = process::my_database();
    (0..PLACES.len())
        .map_while(|index| {
            let place = PLACES.with(|places| Box::new(places[index]))?;
            (index == 0 || place.database != Oid::INVALID).then_some(place)
        })
        .filter(move |place| place.database == database || place.database == Oid::INVALID)
}
