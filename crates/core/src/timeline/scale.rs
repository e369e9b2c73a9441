//! From times to places on an axis of some length.
//!
//! The axis is linear, but for stretches that are cut: in these nothing runs, nothing begins and nothing ends, and they are
//! so long that the rest could not be seen. A cut says so where it is drawn.

use std::collections::BTreeSet;

use super::{Node, Style};

/// A stretch is cut if it is so many times longer than all that is not cut.
const LONGER: i64 = 4;
const MAX_CUTS: usize = 8;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    /// Ends of the pieces, with their places from 0 to 1; the first is the beginning.
    points: Vec<(i64, f64)>,
    /// Numbers of the pieces that are cut, from 0.
    cuts: Vec<usize>,
}

impl Scale {
    pub(super) fn of(nodes: &[Node], from: i64, to: i64) -> Self {
        let (from, to) = (from.min(to), to.max(from));
        let mut points = BTreeSet::from([from, to]);
        let mut busy = Vec::new();
        gather(nodes, to, &mut points, &mut busy);
        let points: Vec<i64> = points.range(from..=to).copied().collect();
        let busy = union(busy);
        let runs = |from: i64| {
            let at = busy.partition_point(|(begin, _)| *begin <= from);
            at > 0 && busy[at - 1].1 > from
        };
        let lengths: Vec<i64> = points.windows(2).map(|ends| ends[1] - ends[0]).collect();
        let mut longest: Vec<usize> = (0..lengths.len()).filter(|i| !runs(points[*i])).collect();
        longest.sort_by_key(|i| (std::cmp::Reverse(lengths[*i]), *i));
        longest.truncate(MAX_CUTS);
        // The longest that stand out from all that is left without them.
        let mut rest = to - from;
        let mut cut = 0;
        for (i, piece) in longest.iter().enumerate() {
            rest -= lengths[*piece];
            if rest > 0 && lengths[*piece] / LONGER > rest {
                cut = i + 1;
            }
        }
        let mut cuts = longest[..cut].to_vec();
        cuts.sort_unstable();
        let uncut = (to - from - cuts.iter().map(|i| lengths[*i]).sum::<i64>()).max(1) as f64;
        // Half of the axis for what is linear, half for the cuts.
        let half = if cuts.is_empty() { 1.0 } else { 0.5 };
        let mut place = 0.0;
        let mut placed = vec![(from, 0.0)];
        for (i, length) in lengths.iter().enumerate() {
            place += match cuts.binary_search(&i) {
                Ok(_) => 0.5 / cuts.len() as f64,
                Err(_) => half * *length as f64 / uncut,
            };
            placed.push((points[i + 1], place.min(1.0)));
        }
        Self { points: placed, cuts }
    }

    /// The place of a time, from 0 to 1.
    pub(super) fn place(&self, time: i64) -> f64 {
        let next = self.points.partition_point(|(at, _)| *at <= time);
        if next == 0 {
            return 0.0;
        }
        let (from, begin) = self.points[next - 1];
        let Some((to, end)) = self.points.get(next).copied() else {
            return 1.0;
        };
        begin + (end - begin) * ((time - from) as f64 / (to - from).max(1) as f64)
    }

    /// The time at a place; `None` within a cut.
    pub(super) fn time(&self, place: f64) -> Option<i64> {
        let next = self
            .points
            .partition_point(|(_, at)| *at < place)
            .clamp(1, self.points.len().max(2) - 1);
        let (to, end) = self.points.get(next).copied()?;
        let (from, begin) = self.points[next - 1];
        if self.cuts.binary_search(&(next - 1)).is_ok() {
            return None;
        }
        let share = if end > begin {
            ((place - begin) / (end - begin)).clamp(0.0, 1.0)
        } else {
            0.0
        };
        Some(from + ((to - from) as f64 * share) as i64)
    }

    /// The middles of the cuts, with how much each stands for.
    pub(super) fn cuts(&self) -> Vec<(f64, i64)> {
        let cut = |i: &usize| {
            let ((from, begin), (to, end)) = (self.points[*i], self.points[*i + 1]);
            (f64::midpoint(begin, end), to - from)
        };
        self.cuts.iter().map(cut).collect()
    }
}

/// Where anything begins or ends, and when something runs.
fn gather(nodes: &[Node], now: i64, points: &mut BTreeSet<i64>, busy: &mut Vec<(i64, i64)>) {
    for node in nodes {
        for mark in &node.marks {
            let to = mark.to.unwrap_or(now).max(mark.from);
            points.extend([mark.from, to]);
            if matches!(mark.style, Style::Running | Style::Retries | Style::Folded) {
                busy.push((mark.from, to));
            }
        }
        gather(&node.inside, now, points, busy);
    }
}

fn union(mut stretches: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    stretches.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, to) in stretches {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}
