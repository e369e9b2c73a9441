//! What is counted, and who may see it: [`crate::hub::metrics`] has the counters.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;

use pg_workflow_core::histogram::{self, BUCKETS};

use crate::engine::authority;
use crate::error::Error;
use crate::hub::metrics::{self, Counts, Event, Place, RESOLUTIONS};
use crate::hub::slots;
use crate::pg::errdata::unpack;
use crate::pg::fmgr::role_name;
use crate::pg::{Oid, Timestamp, catalog, clock, process, scope};
use crate::store::definitions;
use crate::store::runs::{Locked, Status};

/// Places of definitions' workflows, by definition and owner. Numbers of definitions begin anew with the extension.
#[derive(Default)]
struct Known {
    generation: u64,
    places: HashMap<(i32, u32), usize>,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::new(Known::default());
}

fn place(def_id: i32, owner: Oid, workflow: impl FnOnce() -> Option<String>) -> Option<usize> {
    let key = (def_id, owner.to_u32());
    let generation = catalog::functions_generation();
    let known = KNOWN.with_borrow_mut(|known| {
        if known.generation != generation {
            known.places.clear();
            known.generation = generation;
        }
        known.places.get(&key).copied()
    });
    if known.is_some() {
        return known;
    }
    let place = metrics::place(owner, &workflow()?);
    KNOWN.with_borrow_mut(|known| known.places.insert(key, place));
    Some(place)
}

/// Notes something of a run. As the engine.
pub(super) fn note(run: &Locked, event: Event) {
    if metrics::enabled()
        && let Some(place) = place_of(run)
    {
        metrics::note(place, event);
    }
}

fn place_of(run: &Locked) -> Option<usize> {
    place(run.def_id, run.owner, || workflow_of(run.def_id))
}

fn workflow_of(def_id: i32) -> Option<String> {
    definitions::get(def_id).map(|definition| definition.workflow)
}

/// A run was started.
pub(super) fn started(def_id: i32, owner: Oid, workflow: &str) {
    started_as(def_id, owner, || Some(workflow.to_owned()));
}

/// Likewise, where nobody knows yet of which workflow. As the engine.
pub(super) fn forked(def_id: i32, owner: Oid) {
    started_as(def_id, owner, || workflow_of(def_id));
}

fn started_as(def_id: i32, owner: Oid, workflow: impl FnOnce() -> Option<String>) {
    if metrics::enabled()
        && let Some(place) = place(def_id, owner, workflow)
    {
        metrics::note(place, Event::Started);
    }
}

/// A run's row is about to be written; if that is for its first turn, which began at `started`, it has begun. As the engine.
pub(super) fn begun(run: &Locked, started: Timestamp) {
    if run.status == Status::Pending
        && metrics::enabled()
        && let Some(place) = place_of(run)
    {
        let ready = run.start_at.map_or(run.created_at, |at| at.max(run.created_at));
        metrics::note_begun(place, run.run_id, started - ready);
    }
}

/// A run has ended. `took`: since its first turn, if it had one. As the engine.
pub(super) fn ended(run: &Locked, status: Status, took: Option<i64>, sqlstate: impl FnOnce() -> i32) {
    let event = match status {
        Status::Completed => Event::Completed(took),
        Status::Failed => Event::Failed(took, sqlstate()),
        Status::Cancelled => Event::Cancelled,
        Status::Continued => Event::Continued,
        Status::Pending | Status::Running | Status::Waiting | Status::Compensating => return,
    };
    note(run, event);
}

/// The counters that `caller` may see: of its own instances, and all for who monitors the server.
fn visible(caller: Oid) -> impl Iterator<Item = Box<Place>> {
    let all = scope::may_monitor(caller) || authority::sees_all(caller);
    metrics::places().filter(move |place| {
        let counted = place.workflow().is_some() || place.total.started > 0 || place.total.completed > 0;
        counted && (all || (place.owner != Oid::INVALID && scope::has_privileges_of(caller, place.owner)))
    })
}

/// A line of `wf.stats` or `wf.stats_history`. Times are in seconds.
pub(crate) struct Line {
    pub(crate) workflow: Option<String>,
    pub(crate) owner: Option<Oid>,
    pub(crate) period: &'static str,
    /// The beginning of the period, where it is one of many.
    pub(crate) at: Option<Timestamp>,
    pub(crate) counts: Counts<u64>,
}

impl Line {
    /// The 50th, 95th and 99th percentiles of the delays of first turns, then of run times, in seconds.
    pub(crate) fn quantiles(&self) -> [Option<f64>; 6] {
        let of = |counts, q| histogram::quantile(counts, q).map(|micros| micros / 1e6);
        let (queue, run) = (&self.counts.queue, &self.counts.run);
        [
            of(queue, 0.5),
            of(queue, 0.95),
            of(queue, 0.99),
            of(run, 0.5),
            of(run, 0.95),
            of(run, 0.99),
        ]
    }
}

fn line(place: &Place, period: &'static str, at: Option<Timestamp>, counts: Counts<u64>) -> Line {
    Line {
        workflow: place.workflow(),
        owner: owner_of(place),
        period,
        at,
        counts,
    }
}

/// What `wf.stats` shows: of each workflow the last minute, hour and day, and all since the server started.
pub(crate) fn stats() -> Vec<Line> {
    const PERIODS: [&str; 3] = ["1 min", "1 h", "1 day"];
    let now = clock();
    let lines = |place: Box<Place>| {
        let lately = |index| line(&place, PERIODS[index], None, place.lately(index, now));
        let all = line(&place, "total", None, place.total);
        [lately(0), lately(1), lately(2), all]
    };
    visible(scope::current_user()).flat_map(lines).collect()
}

/// What `wf.stats_history` shows: the same one after the other.
pub(crate) fn history() -> Vec<Line> {
    let now = clock();
    let mut lines = Vec::new();
    for place in visible(scope::current_user()) {
        for (index, (name, _, _)) in RESOLUTIONS.iter().enumerate() {
            let past = place.past(index, now);
            lines.extend(past.map(|(at, counts)| line(&place, name, Some(at), counts)));
        }
    }
    lines
}

/// A line of `wf.stats_failures`.
pub(crate) struct Failures {
    pub(crate) workflow: Option<String>,
    pub(crate) owner: Option<Oid>,
    /// What has failed.
    pub(crate) kind: &'static str,
    pub(crate) sqlstate: String,
    pub(crate) count: i64,
}

/// What `wf.stats_failures` shows: failures since the server started, by SQLSTATE.
pub(crate) fn failures() -> Vec<Failures> {
    let mut lines = Vec::new();
    for place in visible(scope::current_user()) {
        for (kind, codes) in [("instance", &place.failures), ("step", &place.step_failures)] {
            for (code, count) in codes.iter().filter(|(_, count)| *count > 0) {
                lines.push(Failures {
                    workflow: place.workflow(),
                    owner: owner_of(&place),
                    kind,
                    sqlstate: sqlstate(*code),
                    count: i64::try_from(*count).unwrap_or(i64::MAX),
                });
            }
        }
    }
    lines
}

fn owner_of(place: &Place) -> Option<Oid> {
    Some(place.owner).filter(|owner| *owner != Oid::INVALID)
}

fn sqlstate(code: i32) -> String {
    if code == 0 { "other".to_owned() } else { unpack(code) }
}

/// How metrics are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    pub(crate) fn from_name(name: &str) -> Result<Self, Error> {
        match name {
            "prometheus" => Ok(Self::Prometheus),
            "openmetrics" => Ok(Self::OpenMetrics),
            _ => Err(Error::WrongArgument {
                name: "format",
                expected: "\"prometheus\" or \"openmetrics\"".to_owned(),
            }),
        }
    }
}

/// The text of `wf_metrics()`.
pub(crate) fn text(format: Format) -> String {
    let database = catalog::database_name(process::my_database());
    let places: Vec<(String, Box<Place>)> = visible(scope::current_user())
        .map(|place| {
            // What has found no place is of all databases.
            let counted_apart = place.workflow().is_some();
            let database = if counted_apart { database.as_str() } else { "" };
            let workflow = place.workflow().unwrap_or_default();
            let owner = owner_of(&place).map(role_name).unwrap_or_default();
            let labels = format!(
                "database=\"{}\",owner=\"{}\",workflow=\"{}\"",
                escape(database),
                escape(&owner),
                escape(&workflow)
            );
            (labels, place)
        })
        .collect();
    let mut out = Exposition {
        text: String::new(),
        format,
    };
    out.family("pg_workflow_started", "counter", "Instances started.");
    for (labels, place) in &places {
        out.counter("pg_workflow_started", labels, place.total.started);
    }
    out.family(
        "pg_workflow_ended",
        "counter",
        "Instances that have ended, by how they ended.",
    );
    for (labels, place) in &places {
        for (status, count) in [
            ("completed", place.total.completed),
            ("failed", place.total.failed),
            ("cancelled", place.total.cancelled),
            ("continued", place.continued),
        ] {
            out.counter("pg_workflow_ended", &format!("{labels},status=\"{status}\""), count);
        }
    }
    out.family(
        "pg_workflow_failures",
        "counter",
        "Instances that have failed, by SQLSTATE.",
    );
    for (labels, place) in &places {
        out.codes("pg_workflow_failures", labels, &place.failures);
    }
    out.family(
        "pg_workflow_step_failures",
        "counter",
        "Attempts of steps that have failed, by SQLSTATE.",
    );
    for (labels, place) in &places {
        out.codes("pg_workflow_step_failures", labels, &place.step_failures);
    }
    out.family(
        "pg_workflow_step_retries",
        "counter",
        "Attempts of steps that have failed and are made again.",
    );
    for (labels, place) in &places {
        out.counter("pg_workflow_step_retries", labels, place.steps_retried);
    }
    for (name, help, of) in HISTOGRAMS {
        out.family(name, "histogram", help);
        for (labels, place) in &places {
            let (counts, time) = of(place);
            out.histogram(name, labels, counts, time);
        }
    }
    out.family("pg_workflow_processes", "gauge", "Processes that serve this database.");
    for (kind, state, count) in processes() {
        let labels = format!("database=\"{}\",kind=\"{kind}\",state=\"{state}\"", escape(&database));
        out.sample("pg_workflow_processes", &labels, count);
    }
    if format == Format::OpenMetrics {
        out.text.push_str("# EOF\n");
    }
    out.text
}

type Histogram = (&'static str, &'static str, fn(&Place) -> (&[u64; BUCKETS], u64));

const HISTOGRAMS: [Histogram; 3] = [
    (
        "pg_workflow_queue_delay_seconds",
        "Time from the start of an instance, or the time set for it, to its first turn.",
        |place| (&place.total.queue, place.queue_time),
    ),
    (
        "pg_workflow_run_seconds",
        "Time from the first turn of an instance to its end.",
        |place| (&place.total.run, place.run_time),
    ),
    (
        "pg_workflow_step_seconds",
        "Time of an attempt of a step that has succeeded.",
        |place| (&place.steps, place.step_time),
    ),
];

/// How many processes of each kind are busy and idle.
fn processes() -> Vec<(&'static str, &'static str, u64)> {
    let mut counts = vec![
        ("scheduler", "idle", 0),
        ("executor", "busy", 0),
        ("executor", "idle", 0),
        ("session", "busy", 0),
        ("session", "idle", 0),
    ];
    for slot in slots::list(process::my_database()) {
        let state = if slot.run.is_some() { "busy" } else { "idle" };
        let place = counts
            .iter_mut()
            .find(|(kind, of, _)| *kind == slot.kind.name() && *of == state);
        if let Some((_, _, count)) = place {
            *count += 1;
        }
    }
    counts
}

/// A label's value as the exposition formats want it.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Metrics in Prometheus' text format or in OpenMetrics', which differ in the name of a counter's family and in the end.
struct Exposition {
    text: String,
    format: Format,
}

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let suffix = if kind == "counter" && self.format == Format::Prometheus {
            "_total"
        } else {
            ""
        };
        // A String takes all.
        let _ = write!(
            self.text,
            "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"
        );
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{name}{{{labels}}} {value}");
    }

    fn counter(&mut self, name: &str, labels: &str, value: u64) {
        self.sample(&format!("{name}_total"), labels, value);
    }

    fn codes(&mut self, name: &str, labels: &str, codes: &[(i32, u64)]) {
        for (code, count) in codes.iter().filter(|(_, count)| *count > 0) {
            let sqlstate = sqlstate(*code);
            self.counter(name, &format!("{labels},sqlstate=\"{sqlstate}\""), *count);
        }
    }

    /// Every second bucket: a factor of four is fine enough here.
    fn histogram(&mut self, name: &str, labels: &str, counts: &[u64; BUCKETS], micros: u64) {
        let mut below = 0;
        for (index, count) in counts.iter().enumerate() {
            below += count;
            if index % 2 == 0
                && let Some(bound) = histogram::bound(index)
            {
                let bound = bound as f64 / 1e6;
                self.sample(&format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), below);
            }
        }
        self.sample(&format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), below);
        self.sample(&format!("{name}_sum"), labels, micros as f64 / 1e6);
        self.sample(&format!("{name}_count"), labels, below);
    }
}
