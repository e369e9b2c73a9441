//! Leaves out lines of which there are too many: the rounds of a loop, and the middle of a long list.

use super::{Mark, Node, Style};
use crate::words;

/// Lines of one round of a loop, at most.
const ROUND: usize = 8;
/// Rounds from which on they are folded.
const ROUNDS: usize = 5;

/// Of rounds that are alike the first and the last one stay, of what is still too long `keep` lines of its beginning and its
/// end. What has failed or is open stays, as far as there is room for as much again.
pub(super) fn fold(nodes: Vec<Node>, keep: usize) -> Vec<Node> {
    let nodes = fold_rounds(nodes);
    if nodes.len() <= 2 * keep + 1 {
        return nodes;
    }
    let last = nodes.len() - keep;
    let mut room = keep;
    let mut folded = Vec::new();
    let mut left_out = Vec::new();
    for (i, node) in nodes.into_iter().enumerate() {
        let stands_out = node.failed || node.is_open || !node.is_plain();
        let stays = i < keep || i >= last || (stands_out && room > 0);
        if !stays {
            left_out.push(node);
            continue;
        }
        if i >= keep && i < last {
            room -= 1;
        }
        folded.extend(line_for(std::mem::take(&mut left_out)));
        folded.push(node);
    }
    folded
}

fn fold_rounds(nodes: Vec<Node>) -> Vec<Node> {
    let mut folded = Vec::new();
    let mut rest = nodes.as_slice();
    while !rest.is_empty() {
        let (length, rounds) = (1..=ROUND.min(rest.len()))
            .map(|length| (length, rounds(rest, length)))
            .max_by_key(|(length, rounds)| {
                (
                    if *rounds >= ROUNDS { length * rounds } else { 0 },
                    std::cmp::Reverse(*length),
                )
            })
            .unwrap_or((1, 1));
        if rounds < ROUNDS {
            folded.push(rest[0].clone());
            rest = &rest[1..];
            continue;
        }
        let (loops, after) = rest.split_at(length * rounds);
        folded.extend_from_slice(&loops[..length]);
        folded.extend(line_for(loops[length..length * (rounds - 1)].to_vec()));
        folded.extend_from_slice(&loops[length * (rounds - 1)..]);
        rest = after;
    }
    folded
}

/// How often the first `length` nodes come one time after the other.
fn rounds(nodes: &[Node], length: usize) -> usize {
    let first = &nodes[..length];
    if !first.iter().all(Node::is_plain) {
        return 0;
    }
    let same = |round: &[Node]| {
        round
            .iter()
            .zip(first)
            .all(|(one, other)| one.alike == other.alike && one.is_plain())
    };
    nodes.chunks_exact(length).take_while(|round| same(round)).count()
}

/// A line in the place of others.
fn line_for(nodes: Vec<Node>) -> Option<Node> {
    if nodes.len() < 2 {
        return nodes.into_iter().next();
    }
    let marks = || nodes.iter().flat_map(|node| &node.marks);
    let from = marks().map(|mark| mark.from).min();
    let to = marks().map(|mark| mark.to.unwrap_or(i64::MAX)).max();
    let left_out = nodes.iter().map(|node| node.left_out.max(1)).sum();
    let is_open = to == Some(i64::MAX);
    let mark = from.map(|from| Mark {
        style: Style::Folded,
        from,
        to: to.filter(|_| !is_open),
    });
    Some(Node {
        kind: "gap".to_owned(),
        label: format!("… {} more", words::count(left_out)),
        took: from.zip(to.filter(|_| !is_open)).map(|(from, to)| to - from),
        marks: mark.into_iter().collect(),
        is_open,
        left_out,
        ..Node::default()
    })
}

impl Node {
    /// Nothing but a line that has gone as it should.
    fn is_plain(&self) -> bool {
        self.note.is_empty()
            && !self.failed
            && !self.is_open
            && !self.marks.iter().any(|mark| mark.style == Style::Folded)
    }
}
