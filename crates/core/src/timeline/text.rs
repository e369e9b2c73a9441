//! The picture in characters, a line each.

use super::scale::Scale;
use super::{Node, Style, Timeline};
use crate::words::{self, fit};

/// Columns between the parts of a line.
const GAP: usize = 2;
const CUT: char = '╱';

fn character(style: Style) -> char {
    match style {
        Style::Waiting => '─',
        Style::Paused => '═',
        Style::Queued => '░',
        Style::Retries => '▒',
        Style::Running => '█',
        Style::Folded => '┄',
        Style::Moment => '•',
    }
}

const LEGEND: [(Style, &str); 7] = [
    (Style::Queued, "queued"),
    (Style::Running, "running"),
    (Style::Retries, "attempts and the waits between them"),
    (Style::Waiting, "waiting"),
    (Style::Paused, "paused"),
    (Style::Moment, "at once"),
    (Style::Folded, "left out"),
];

/// Draws a timeline into `width` columns, which none of the lines exceeds. `now`: where what is open goes to.
pub fn text(timeline: &Timeline, width: usize, now: i64, at: &dyn Fn(i64) -> String) -> Vec<String> {
    let (from, to) = timeline.stretch(now);
    let scale = Scale::of(&timeline.lines, from, to);
    let rows = timeline.rows();
    let longest = |of: &dyn Fn(&(usize, &Node)) -> usize| rows.iter().map(of).max().unwrap_or(0);
    let label = longest(&|(depth, node)| 2 * depth + node.label.chars().count()).clamp(8, (width / 3).max(8));
    let note = longest(&|(_, node)| node.note.chars().count()).min(width / 3);
    let took = longest(&|(_, node)| length(node, now).chars().count());
    let bar = width.saturating_sub(label + GAP + GAP + took + GAP + note).max(10);
    let mut lines = vec![
        fit(&timeline.title(now, at), width),
        fit(&format!("{}  {}", " ".repeat(label), axis(&scale, bar, from)), width),
    ];
    for (depth, node) in &rows {
        let name = fit(&format!("{}{}", "  ".repeat((*depth).min(8)), node.label), label);
        let bars = bars(node, &scale, bar, now);
        let line = format!("{name:<label$}  {bars}  {:>took$}  {}", length(node, now), node.note);
        lines.push(fit(line.trim_end(), width));
    }
    lines.push(fit(&legend(&rows, &scale), width));
    lines
}

/// How long it took, or takes so far.
pub(super) fn length(node: &Node, now: i64) -> String {
    if let Some(took) = node.took {
        return words::duration(took);
    }
    let since = node.marks.iter().map(|mark| mark.from).min().filter(|_| node.is_open);
    since
        .map(|since| format!("{}…", words::duration(now - since)))
        .unwrap_or_default()
}

/// The first column of a place, and the last one of an end.
fn column(place: f64, bar: usize) -> usize {
    ((place * bar as f64) as usize).min(bar.saturating_sub(1))
}

fn bars(node: &Node, scale: &Scale, bar: usize, now: i64) -> String {
    let mut cells = vec![' '; bar];
    let mut marks: Vec<_> = node.marks.iter().collect();
    // What runs lies upon what waits.
    marks.sort_by_key(|mark| mark.style);
    for mark in marks {
        let first = column(scale.place(mark.from), bar);
        let end = scale.place(mark.to.unwrap_or(now).max(mark.from)) * bar as f64;
        // Up to the column in which the end lies, if it is not at its very beginning.
        let last = ((end - 0.01).max(0.0) as usize).clamp(first, bar - 1);
        cells[first..=last].fill(character(mark.style));
    }
    for (place, _) in scale.cuts() {
        let middle = column(place, bar);
        for cell in cells[middle.saturating_sub(1)..=middle]
            .iter_mut()
            .filter(|cell| **cell != ' ')
        {
            *cell = CUT;
        }
    }
    cells.into_iter().collect()
}

/// Times along the axis as far as there is room, its beginning and the cuts first.
fn axis(scale: &Scale, bar: usize, from: i64) -> String {
    let mut cells: Vec<char> = vec![' '; bar];
    let mut place = |text: &str, begin: usize| {
        let text: Vec<char> = text.chars().collect();
        let end = begin + text.len();
        // With a blank at both sides.
        let free = end <= bar
            && cells[begin.saturating_sub(1)..(end + 1).min(bar)]
                .iter()
                .all(|cell| *cell == ' ');
        if free {
            cells[begin..end].copy_from_slice(&text);
        }
    };
    place("|0", 0);
    for (middle, length) in scale.cuts() {
        let begin = column(middle, bar).saturating_sub(1).max(3);
        place(&format!("{CUT}{CUT} {}", words::duration(length)), begin);
    }
    if let Some(end) = scale.time(1.0) {
        let text = format!("{}|", words::duration(end - from));
        place(&text, bar.saturating_sub(text.chars().count()));
    }
    for quarter in [0.5, 0.25, 0.75] {
        if let Some(time) = scale.time(quarter) {
            place(&format!("|{}", words::duration(time - from)), column(quarter, bar));
        }
    }
    cells.into_iter().collect()
}

fn legend(rows: &[(usize, &Node)], scale: &Scale) -> String {
    let drawn = |style| {
        rows.iter()
            .any(|(_, node)| node.marks.iter().any(|mark| mark.style == style))
    };
    let mut words: Vec<String> = LEGEND
        .iter()
        .filter(|(style, _)| drawn(*style))
        .map(|(style, word)| format!("{} {word}", character(*style)))
        .collect();
    if !scale.cuts().is_empty() {
        words.push(format!("{CUT}{CUT} not to scale"));
    }
    words.join("  ")
}
