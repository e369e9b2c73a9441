//! What comes behind what, as a graph: of an instance as it went, or of a workflow.

mod dot;
mod mermaid;

use std::collections::BTreeMap;

use crate::lint::Call;
use crate::timeline::{Node as Line, Timeline};
use crate::words;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Mermaid,
    Dot,
}

impl Format {
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "mermaid" => Some(Self::Mermaid),
            "dot" => Some(Self::Dot),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    End,
    Step,
    Wait,
    Task,
}

/// How it has gone, which is a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Done,
    Failed,
    Open,
    Dropped,
    Plain,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    /// Of several lines.
    label: String,
    shape: Shape,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Edge {
    from: usize,
    to: usize,
    label: String,
    /// It is not known whether the one comes behind the other.
    guessed: bool,
}

/// Nodes that belong together, and groups within.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Group {
    label: String,
    nodes: Vec<usize>,
    groups: Vec<Group>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    whole: Group,
}

/// Nodes of a part of a graph that nothing in it comes before, or behind.
struct Ends {
    first: Vec<usize>,
    last: Vec<usize>,
}

/// A call of a workflow, in its histories.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// `begin`, `end`, or the kind of a call.
    pub kind: String,
    /// With `end`: the status.
    pub name: String,
}

/// How often a call came behind another one.
#[derive(Debug, Clone)]
pub struct Step {
    pub from: Place,
    pub to: Place,
    pub times: i64,
}

impl Graph {
    pub fn draw(&self, format: Format) -> String {
        let drawn = match format {
            Format::Mermaid => mermaid::draw(self),
            Format::Dot => dot::draw(self),
        };
        drawn.trim_end().to_owned()
    }

    /// An instance as it went. What overlaps in time stands side by side.
    pub fn of_instance(timeline: &Timeline) -> Self {
        let mut graph = Self::default();
        let mut whole = Group::default();
        let begin = graph.add(
            &mut whole,
            Node {
                label: format!("{}\n{}", timeline.id, timeline.workflow),
                shape: Shape::End,
                state: State::Plain,
            },
        );
        let flow = graph.flow(&mut whole, &timeline.lines, false);
        let end = timeline.finished.map(|_| {
            let end = Node {
                label: timeline.status.clone(),
                shape: Shape::End,
                state: state(&timeline.status, false),
            };
            graph.add(&mut whole, end)
        });
        let flow = flow.unwrap_or(Ends {
            first: vec![begin],
            last: vec![begin],
        });
        graph.connect(&[begin], &flow.first);
        graph.connect(&flow.last, &Vec::from_iter(end));
        graph.whole = whole;
        graph
    }

    /// Lines that belong together; `None` without any.
    fn flow(&mut self, group: &mut Group, lines: &[Line], side_by_side: bool) -> Option<Ends> {
        let lines: Vec<&Line> = lines.iter().filter(|line| line.is_call()).collect();
        let parts: Vec<Ends> = lines.iter().map(|line| self.line(group, line)).collect();
        let times: Vec<(i64, i64)> = lines.iter().map(|line| line.times()).collect();
        // A later line comes behind an earlier one that had ended when it began.
        let behind = |one: usize, other: usize| !side_by_side && one < other && times[one].1 <= times[other].0;
        let (mut is_first, mut is_last) = (vec![true; lines.len()], vec![true; lines.len()]);
        for other in 0..lines.len() {
            for one in (0..other).filter(|one| behind(*one, other)) {
                // But not directly, if there is one in between.
                if !(one + 1..other).any(|between| behind(one, between) && behind(between, other)) {
                    self.connect(&parts[one].last, &parts[other].first);
                    (is_last[one], is_first[other]) = (false, false);
                }
            }
        }
        let mut ends = Ends {
            first: Vec::new(),
            last: Vec::new(),
        };
        for (i, part) in parts.iter().enumerate() {
            if is_first[i] {
                ends.first.extend(&part.first);
            }
            if is_last[i] {
                ends.last.extend(&part.last);
            }
        }
        (!parts.is_empty()).then_some(ends)
    }

    /// One line: a node, or what is inside of it as a group.
    fn line(&mut self, group: &mut Group, line: &Line) -> Ends {
        let mut inner = Group {
            label: line.label.clone(),
            ..Group::default()
        };
        if let Some(ends) = self.flow(&mut inner, &line.inside, line.kind == "map") {
            group.groups.push(inner);
            return ends;
        }
        let mut label = line.label.clone();
        if let Some(took) = line.took {
            label = format!("{label}\n{}", words::duration(took));
        }
        if !line.note.is_empty() {
            label = format!("{label}\n{}", words::fit(&line.note, 60));
        }
        let node = self.add(
            group,
            Node {
                label,
                shape: shape(&line.kind),
                state: state(&line.status, line.is_open),
            },
        );
        Ends {
            first: vec![node],
            last: vec![node],
        }
    }

    /// A workflow, by how often its calls came behind each other in histories.
    pub fn of_histories(workflow: &str, instances: i64, steps: &[Step]) -> Self {
        let mut graph = Self::default();
        let mut whole = Group::default();
        let mut known: BTreeMap<Place, usize> = BTreeMap::new();
        for step in steps {
            let ends = [&step.from, &step.to].map(|place| {
                *known.entry(place.clone()).or_insert_with(|| {
                    let (label, shape, state) = match place.kind.as_str() {
                        "begin" => {
                            let s = if instances == 1 { "" } else { "s" };
                            (format!("{workflow}\n{instances} instance{s}"), Shape::End, State::Plain)
                        }
                        "end" => (place.name.clone(), Shape::End, self::state(&place.name, false)),
                        kind => (named(kind, &place.name), shape(kind), State::Plain),
                    };
                    graph.nodes.push(Node { label, shape, state });
                    whole.nodes.push(graph.nodes.len() - 1);
                    graph.nodes.len() - 1
                })
            });
            graph.edges.push(Edge {
                from: ends[0],
                to: ends[1],
                label: step.times.to_string(),
                guessed: false,
            });
        }
        graph.whole = whole;
        graph
    }

    /// A workflow that has not run yet: its calls in the order of the source, which is not known to be the one in which they
    /// are made.
    pub fn of_source(workflow: &str, calls: &[Call]) -> Self {
        let mut graph = Self::default();
        let mut whole = Group::default();
        let begin = Node {
            label: format!("{workflow}\nfrom its source"),
            shape: Shape::End,
            state: State::Plain,
        };
        let mut before = graph.add(&mut whole, begin);
        for call in calls {
            let name = call.name.as_deref().unwrap_or("?");
            let node = Node {
                label: format!("{}\nline {}", named(call.kind, name), call.line),
                shape: shape(call.kind),
                state: State::Plain,
            };
            let node = graph.add(&mut whole, node);
            graph.edges.push(Edge {
                from: before,
                to: node,
                label: String::new(),
                guessed: true,
            });
            before = node;
        }
        graph.whole = whole;
        graph
    }

    fn add(&mut self, group: &mut Group, node: Node) -> usize {
        self.nodes.push(node);
        group.nodes.push(self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn connect(&mut self, from: &[usize], to: &[usize]) {
        for (from, to) in from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to))) {
            if from != to {
                self.edges.push(Edge {
                    from,
                    to,
                    label: String::new(),
                    guessed: false,
                });
            }
        }
    }
}

impl Line {
    /// False for what an operator did, and for times in which nothing was called.
    fn is_call(&self) -> bool {
        !matches!(self.kind.as_str(), "queue" | "delay" | "pause" | "action")
    }

    /// When it began and ended.
    fn times(&self) -> (i64, i64) {
        let begin = self.marks.iter().map(|mark| mark.from).min().unwrap_or(i64::MAX);
        let end = self
            .marks
            .iter()
            .map(|mark| mark.to.unwrap_or(i64::MAX))
            .max()
            .unwrap_or(i64::MAX);
        (begin, end)
    }
}

fn named(kind: &str, name: &str) -> String {
    if kind == "step" || kind == name {
        return name.to_owned();
    }
    format!("{name} ({kind})")
}

fn shape(kind: &str) -> Shape {
    match kind {
        "sleep" | "signal" => Shape::Wait,
        "task" => Shape::Task,
        _ => Shape::Step,
    }
}

fn state(status: &str, is_open: bool) -> State {
    match status {
        "failed" => State::Failed,
        "cancelled" | "dropped" => State::Dropped,
        _ if is_open => State::Open,
        "completed" => State::Done,
        "retrying" | "waiting" | "running" | "pending" => State::Open,
        _ => State::Plain,
    }
}

#[cfg(test)]
mod tests;
