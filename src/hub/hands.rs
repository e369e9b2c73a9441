//! What each process has in its hands: the runs whose code it has run in its transaction, and the step that it is at. Kept where
//! a crash leaves it, for the only trace of a step that takes the server down is that its process was at it.
//!
//! A hand is emptied by its process: when it begins another transaction, when it ends, and when the postmaster ends it because
//! another one has crashed. So what is left behind a crash is what the crashed process was at. The postmaster puts it on a list
//! before it starts processes again, and the database's scheduler takes it from there.
//!
//! Written without a lock: a hand by its process, the list by the postmaster when it is alone, and then by schedulers, each
//! the places of its own database.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::state::{PROCESSES, STEP_NAME};
use crate::pg::shared::Lasting;
use crate::pg::{RunId, process};

/// Runs of one transaction. A batch is rarely larger; of one that is, the last are known.
const RUNS: usize = 64;
/// Places for what is found behind crashes and not yet seen to.
const LOST: usize = 256;

struct Run([AtomicU64; 2]);

impl Run {
    fn set(&self, run: RunId) {
        let (first, second) = run.0.split_at(8);
        for (place, bytes) in self.0.iter().zip([first, second]) {
            let bytes = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            place.store(bytes, Ordering::Relaxed);
        }
    }

    fn get(&self) -> RunId {
        let mut run = [0; 16];
        for (bytes, word) in run.chunks_mut(8).zip(&self.0) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_be_bytes());
        }
        RunId(run)
    }
}

struct Text {
    length: AtomicU32,
    bytes: [AtomicU8; STEP_NAME],
}

impl Text {
    /// Cut at a character's border.
    fn set(&self, text: &str) {
        let text = &text[..text.floor_char_boundary(STEP_NAME)];
        for (place, byte) in self.bytes.iter().zip(text.bytes()) {
            place.store(byte, Ordering::Relaxed);
        }
        self.length.store(text.len() as u32, Ordering::Relaxed);
    }

    fn get(&self) -> String {
        let bytes = self.bytes.iter().take(self.length.load(Ordering::Relaxed) as usize);
        let bytes: Vec<u8> = bytes.map(|byte| byte.load(Ordering::Relaxed)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

struct Hand {
    database: AtomicU32,
    count: AtomicU32,
    /// It is at the last of the runs. Otherwise what runs is of all of them: deferred triggers, say.
    at_work: AtomicBool,
    step: Text,
    runs: [Run; RUNS],
}

impl Hand {
    fn clear(&self) {
        self.count.store(0, Ordering::Relaxed);
        self.at_work.store(false, Ordering::Relaxed);
    }

    fn count(&self) -> usize {
        (self.count.load(Ordering::Relaxed) as usize).min(RUNS)
    }
}

/// A run that a process was at when it crashed.
struct Place {
    /// 0: free.
    database: AtomicU32,
    run: Run,
    step: Text,
}

struct Hands {
    hands: [Hand; PROCESSES],
    lost: [Place; LOST],
}

static HANDS: Lasting<Hands> = Lasting::new();

/// This process' hand: its number and one more; 0: it has none.
static MINE: AtomicUsize = AtomicUsize::new(0);

fn mine() -> Option<&'static Hand> {
    HANDS.get()?.hands.get(MINE.load(Ordering::Relaxed).checked_sub(1)?)
}

/// When the server starts, and behind each crash, while there is no process but the postmaster.
pub(super) fn startup() {
    HANDS.startup();
    let Some(Hands { hands, lost }) = HANDS.get() else {
        return;
    };
    let mut free = lost.iter().filter(|place| place.database.load(Ordering::Relaxed) == 0);
    for hand in hands.iter().filter(|hand| hand.count() > 0) {
        let at_work = hand.at_work.load(Ordering::Relaxed);
        let first = if at_work { hand.count() - 1 } else { 0 };
        for (run, place) in hand.runs[first..hand.count()].iter().zip(&mut free) {
            place.run.set(run.get());
            place.step.set(&if at_work { hand.step.get() } else { String::new() });
            let database = hand.database.load(Ordering::Relaxed);
            place.database.store(database, Ordering::Relaxed);
        }
        hand.clear();
    }
}

/// This process has a slot, and its hand is that of the slot.
pub(super) fn take(slot: usize, worker: bool) {
    MINE.store(slot + 1, Ordering::Relaxed);
    if let Some(hand) = mine() {
        hand.clear();
        hand.database.store(process::my_database().to_u32(), Ordering::Relaxed);
    }
    if worker {
        process::before_quitting(empty);
    }
}

pub(super) fn give_back() {
    empty();
    MINE.store(0, Ordering::Relaxed);
}

/// A transaction begins. Also a signal handler.
pub(crate) fn empty() {
    if let Some(hand) = mine() {
        hand.clear();
    }
}

/// This process is at a run (or a schedule), at `step` (empty: at its own code), whose crash takes the process along.
pub(crate) fn hold(run: RunId, step: &str) {
    let Some(hand) = mine() else { return };
    let count = hand.count();
    hand.step.set(step);
    if count == 0 || hand.runs[count - 1].get() != run {
        let place = count.min(RUNS - 1);
        hand.runs[place].set(run);
        hand.count.store(place as u32 + 1, Ordering::Relaxed);
    }
    hand.at_work.store(true, Ordering::Relaxed);
}

/// The turns are over: what runs now, up to the commit, is of all of them.
pub(crate) fn rest() {
    if let Some(hand) = mine() {
        hand.at_work.store(false, Ordering::Relaxed);
    }
}

/// What crashed processes of this database were at and nobody has seen to, each with the step.
pub(crate) fn lost() -> Vec<(RunId, String)> {
    lost_here().map(|place| (place.run.get(), place.step.get())).collect()
}

/// What [`lost`] has given is seen to.
pub(crate) fn forget_lost() {
    lost_here().for_each(|place| place.database.store(0, Ordering::Relaxed));
}

fn lost_here() -> impl Iterator<Item = &'static Place> {
    let database = process::my_database().to_u32();
    let places = HANDS.get().map(|hands| hands.lost.iter()).into_iter().flatten();
    places.filter(move |place| place.database.load(Ordering::Relaxed) == database)
}
