//! What an instance has done over time, as a picture: events in, lines with bars out, which `text` and `svg` draw.

mod fold;
mod scale;
mod svg;
mod text;

use std::collections::BTreeMap;

use crate::words;
pub use svg::svg;
pub use text::text;

/// A row of `wf.timeline`. Times are microseconds.
#[derive(Debug, Clone, Default)]
pub struct Event {
    /// Its number within the instance; the run itself is 1.
    pub nr: i64,
    pub parent: Option<i64>,
    pub kind: String,
    pub name: String,
    pub status: String,
    pub attempts: i32,
    pub occurrence: i32,
    pub item: i32,
    pub started: Option<i64>,
    pub finished: Option<i64>,
    /// When the wait is over, or the next attempt due.
    pub due: Option<i64>,
    pub error: Option<String>,
    /// The instance that it has started.
    pub child: Option<String>,
    /// What else there is to say: a reason, a role.
    pub remark: Option<String>,
}

impl Event {
    /// With times that can be subtracted from each other.
    fn bounded(self) -> Self {
        const LIMIT: i64 = i64::MAX / 4;
        let bounded = |time: Option<i64>| time.map(|time| time.clamp(-LIMIT, LIMIT));
        Self {
            started: bounded(self.started),
            finished: bounded(self.finished),
            ..self
        }
    }
}

/// What a stretch of a bar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Style {
    Waiting,
    Paused,
    Queued,
    /// Attempts and the waits between them: when each of them was is not recorded.
    Retries,
    Running,
    /// Lines that are left out.
    Folded,
    /// Something of no length.
    Moment,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub style: Style,
    pub from: i64,
    /// `None`: it goes on.
    pub to: Option<i64>,
}

/// A line of the picture.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// Of its event.
    pub kind: String,
    pub status: String,
    pub label: String,
    pub marks: Vec<Mark>,
    /// What goes behind the bar.
    pub note: String,
    pub failed: bool,
    /// The length of it, `None` where it is not known.
    pub took: Option<i64>,
    pub is_open: bool,
    /// The instance that it stands for, which [`Node::nest`] fills in.
    pub child: Option<String>,
    pub inside: Vec<Node>,
    /// Lines that are left out here.
    pub left_out: usize,
    /// Equal for what a loop repeats.
    pub alike: String,
}

/// An instance with its lines.
#[derive(Debug, Clone)]
pub struct Timeline {
    pub id: String,
    pub workflow: String,
    pub run: i32,
    pub status: String,
    pub error: Option<String>,
    pub began: i64,
    pub finished: Option<i64>,
    pub lines: Vec<Node>,
}

/// Lines of a level that are shown of its beginning and its end.
const KEEP: usize = 20;
const KEEP_INSIDE: usize = 4;

impl Timeline {
    /// The lines of an instance from its events in order. `omitted`: events between those before number `behind` and the rest.
    /// `at` says a time in words.
    ///
    /// `None` without events.
    pub fn new(
        id: &str,
        run: i32,
        events: Vec<Event>,
        omitted: usize,
        behind: i64,
        at: &dyn Fn(i64) -> String,
    ) -> Option<Self> {
        let mut events = events.into_iter().map(Event::bounded);
        let whole = events.next()?;
        let events: Vec<Event> = events.collect();
        let mut within: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
        let known: Vec<i64> = events.iter().map(|event| event.nr).collect();
        let mut gap_in = None;
        for event in events {
            let parent = event.parent.filter(|parent| known.binary_search(parent).is_ok());
            let parent = parent.unwrap_or(whole.nr);
            if omitted > 0 && gap_in.is_none() && event.nr >= behind {
                gap_in = Some(parent);
                within.entry(parent).or_default().push(Event {
                    kind: "gap".to_owned(),
                    ..Event::default()
                });
            }
            within.entry(parent).or_default().push(event);
        }
        let lines = build(&mut within, whole.nr, omitted, at);
        let paused = whole.finished.is_none() && lines.iter().any(|line| line.is_open && line.kind == "pause");
        Some(Self {
            id: id.to_owned(),
            workflow: whole.name,
            run,
            // The word that wf_status has for it.
            status: if paused { "paused".to_owned() } else { whole.status },
            error: whole.error,
            began: whole.started.unwrap_or(0),
            finished: whole.finished,
            lines: fold::fold(lines, KEEP),
        })
    }

    /// In a line: what it is, and what has become of it.
    fn title(&self, now: i64, at: &dyn Fn(i64) -> String) -> String {
        let run = if self.run > 1 {
            format!(" (run {})", self.run)
        } else {
            String::new()
        };
        let took = words::duration(self.finished.unwrap_or(now) - self.began);
        let (id, workflow, status) = (&self.id, &self.workflow, &self.status);
        let stands = match self.finished {
            Some(_) => format!("{status} after {took}"),
            None => format!("{status}, {took} so far"),
        };
        let error = self
            .error
            .as_ref()
            .map(|error| format!(": {error}"))
            .unwrap_or_default();
        format!("{id}{run} | {workflow} | {} | {stands}{error}", at(self.began))
    }

    /// From where to where the axis goes.
    fn stretch(&self, now: i64) -> (i64, i64) {
        let (mut from, mut to) = (self.began, self.finished.unwrap_or(now));
        for (_, node) in self.rows() {
            for mark in &node.marks {
                from = from.min(mark.from);
                to = to.max(mark.to.unwrap_or(now)).max(mark.from);
            }
        }
        (from, to)
    }

    /// All lines, with how deep they lie.
    fn rows(&self) -> Vec<(usize, &Node)> {
        fn collect<'a>(nodes: &'a [Node], depth: usize, found: &mut Vec<(usize, &'a Node)>) {
            for node in nodes {
                found.push((depth, node));
                collect(&node.inside, depth + 1, found);
            }
        }
        let mut found = Vec::new();
        collect(&self.lines, 0, &mut found);
        found
    }

    /// The nodes that stand for other instances, those of maps included.
    pub fn children(&mut self) -> Vec<&mut Node> {
        fn collect<'a>(nodes: &'a mut [Node], found: &mut Vec<&'a mut Node>) {
            for node in nodes {
                if node.child.is_some() {
                    found.push(node);
                } else {
                    collect(&mut node.inside, found);
                }
            }
        }
        let mut found = Vec::new();
        collect(&mut self.lines, &mut found);
        found
    }
}

impl Node {
    /// Puts the lines of a child below its call.
    pub fn nest(&mut self, child: Timeline) {
        let mut lines = child.lines;
        if child.run > 1 {
            self.note = join(&self.note, &format!("run {}", child.run));
        }
        // How long it waited for its first turn is seen in the call's own bar.
        if lines.first().is_some_and(|line| line.kind == "queue") {
            self.marks.extend(lines.remove(0).marks);
        }
        self.inside = fold::fold(lines, KEEP_INSIDE * 2);
    }
}

fn join(one: &str, other: &str) -> String {
    if one.is_empty() || other.is_empty() {
        return format!("{one}{other}");
    }
    format!("{one}, {other}")
}

fn build(within: &mut BTreeMap<i64, Vec<Event>>, parent: i64, omitted: usize, at: &dyn Fn(i64) -> String) -> Vec<Node> {
    let mut nodes = Vec::new();
    for event in within.remove(&parent).unwrap_or_default() {
        // Values and signals that came are seen at the calls that took them, waits for begun calls at these.
        if matches!(event.kind.as_str(), "value" | "sent" | "await") {
            continue;
        }
        let nr = event.nr;
        if event.kind == "map" && omitted == 0 {
            // As they were given, not as they were begun.
            within.entry(nr).and_modify(|items| items.sort_by_key(|item| item.item));
        }
        let mut node = node(&event, omitted, at);
        // What its bar is made of, and what is a line of its own.
        let (parts, rest) = within
            .remove(&nr)
            .unwrap_or_default()
            .into_iter()
            .partition(|part| matches!(part.kind.as_str(), "queue" | "retry" | "attempt"));
        within.insert(nr, rest);
        take_parts(&mut node, &event, parts, at);
        node.inside = fold::fold(build(within, nr, omitted, at), KEEP_INSIDE);
        nodes.push(node);
    }
    nodes
}

/// A line with a bar of one piece.
fn node(event: &Event, omitted: usize, at: &dyn Fn(i64) -> String) -> Node {
    let style = style(event);
    let mark = event.started.map(|from| Mark {
        style,
        from,
        to: if style == Style::Moment {
            Some(from)
        } else {
            event.finished
        },
    });
    let is_open = event.started.is_some() && event.finished.is_none() && style != Style::Moment;
    let took = event.started.zip(event.finished).map(|(from, to)| (to - from).max(0));
    let alike = format!("{}\n{}\n{}", event.kind, event.name, event.status);
    let label = match event.kind.as_str() {
        "gap" => format!("… {} more", words::count(omitted)),
        "branch" => format!("[{}]", event.item),
        "step" if event.occurrence > 1 => format!("{} #{}", event.name, event.occurrence),
        "step" => event.name.clone(),
        "delay" | "queue" | "pause" => format!("({})", event.kind),
        "action" => format!("({})", event.name),
        kind if event.name == kind && event.occurrence > 1 => format!("{kind} #{}", event.occurrence),
        kind if event.name == kind => kind.to_owned(),
        kind if event.occurrence > 1 => format!("{} #{} ({kind})", event.name, event.occurrence),
        kind => format!("{} ({kind})", event.name),
    };
    Node {
        kind: event.kind.clone(),
        status: event.status.clone(),
        label,
        marks: mark.into_iter().collect(),
        note: note(event, at),
        failed: event.status == "failed",
        took: took.filter(|_| style != Style::Moment),
        is_open,
        child: event.child.clone(),
        inside: Vec::new(),
        left_out: if event.kind == "gap" { omitted } else { 0 },
        alike,
    }
}

fn style(event: &Event) -> Style {
    match event.kind.as_str() {
        "gap" => Style::Folded,
        "step" | "branch" | "attempt" | "rollback" if event.child.is_none() => Style::Running,
        "task" if event.status != "waiting" || event.attempts > 0 => Style::Running,
        "queue" => Style::Queued,
        "pause" => Style::Paused,
        "retry" => Style::Retries,
        "compensation" | "set" | "emit" | "continue" | "action" => Style::Moment,
        _ => Style::Waiting,
    }
}

fn note(event: &Event, at: &dyn Fn(i64) -> String) -> String {
    let mut note = match event.status.as_str() {
        "completed" | "waiting" | "pending" | "" => String::new(),
        "retrying" => "waits for its next attempt".to_owned(),
        status => status.to_owned(),
    };
    if event.kind == "action" || event.kind == "gap" {
        note.clear();
    }
    if event.attempts > 1 || event.status == "retrying" {
        let s = if event.attempts == 1 { "" } else { "s" };
        note = join(&note, &format!("{} attempt{s}", event.attempts));
    }
    if let Some(due) = event.due {
        let word = if event.status == "retrying" { "at" } else { "until" };
        note = join(&note, &format!("{word} {}", at(due)));
    }
    if let Some(error) = &event.error {
        note = if note.is_empty() {
            error.clone()
        } else {
            format!("{note}: {error}")
        };
    }
    join(&note, event.remark.as_deref().unwrap_or_default())
}

/// Makes a bar of several pieces.
fn take_parts(node: &mut Node, event: &Event, parts: Vec<Event>, at: &dyn Fn(i64) -> String) {
    let runs_since = parts
        .iter()
        .filter(|part| part.kind == "attempt")
        .filter_map(|part| part.started)
        .min();
    if runs_since.is_some() {
        node.note = join("running", &node.note);
    }
    for part in parts {
        let Some(from) = part.started else { continue };
        let style = style(&part);
        let to = part
            .finished
            .or(event.finished)
            .or(runs_since.filter(|_| style != Style::Running));
        if let Some(whole) = node.marks.first_mut().filter(|_| style != Style::Running) {
            // What is behind the part begins at its end.
            match part.finished.filter(|end| Some(*end) != event.finished) {
                Some(end) => whole.from = end,
                None if whole.style == Style::Running => {
                    node.marks.remove(0);
                }
                None => {}
            }
        }
        if style == Style::Queued && to.is_none() {
            node.note = join(&node.note, "queued");
        }
        if let Some(due) = part.due.filter(|_| event.due.is_none() && event.finished.is_none()) {
            node.note = join(&node.note, &format!("at {}", at(due)));
        }
        node.marks.push(Mark { style, from, to });
    }
}

#[cfg(test)]
mod tests;
