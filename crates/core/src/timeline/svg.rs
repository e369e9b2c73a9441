//! The picture as an SVG document that needs nothing else: no script, no font, no style sheet.

use std::fmt::Write;

use super::scale::Scale;
use super::{Node, Style, Timeline};
use crate::words::{self, fit};

const ROW: usize = 22;
const HEAD: usize = 56;
const LABEL: usize = 240;
const BAR: usize = 560;
const TOOK: usize = 96;
const NOTE: usize = 264;
const WIDTH: usize = LABEL + BAR + TOOK + NOTE;

/// Characters of the font to a width in pixels, with room for wide ones.
const fn characters(pixels: usize) -> usize {
    pixels / 8
}

const STYLE: &str = "\
text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#1f2328}\
.bg{fill:#fff}.grid{stroke:#d1d9e0}.dim{fill:#59636e}.bad{fill:#b3261e}\
.queued{fill:#bf8700}.running{fill:#1a7f37}.retries{fill:#bc4c00}.waiting{fill:#8c959f}.paused{fill:#8250df}\
.folded{fill:#d1d9e0}.moment{fill:#0969da}.failed .running,.failed .retries{fill:#cf222e}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bg{fill:#0d1117}.grid{stroke:#3d444d}.dim{fill:#9198a1}.bad{fill:#ff7b72}\
.queued{fill:#d29922}.running{fill:#3fb950}.retries{fill:#f0883e}.waiting{fill:#656c76}.paused{fill:#ab7df8}\
.folded{fill:#3d444d}.moment{fill:#4493f8}.failed .running,.failed .retries{fill:#f85149}}";

const CLASSES: [(Style, &str, &str); 7] = [
    (Style::Queued, "queued", "queued"),
    (Style::Running, "running", "running"),
    (Style::Retries, "retries", "attempts and waits between"),
    (Style::Waiting, "waiting", "waiting"),
    (Style::Paused, "paused", "paused"),
    (Style::Moment, "moment", "at once"),
    (Style::Folded, "folded", "left out"),
];

fn class(style: Style) -> &'static str {
    CLASSES
        .iter()
        .find(|(of, ..)| *of == style)
        .map_or("", |(_, class, _)| class)
}

/// Text within XML: what XML cannot hold is replaced.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Draws a timeline. `now`: where what is open goes to.
pub fn svg(timeline: &Timeline, now: i64, at: &dyn Fn(i64) -> String) -> String {
    let (from, to) = timeline.stretch(now);
    let scale = Scale::of(&timeline.lines, from, to);
    let rows = timeline.rows();
    let foot = HEAD + ROW * rows.len();
    let height = foot + ROW + 8;
    let title = escape(&timeline.title(now, at));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<rect class=\"bg\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    let shown = escape(&fit(&timeline.title(now, at), characters(WIDTH)));
    push(&mut out, 8, 18, "", &shown);
    axis(&mut out, &scale, from, foot);
    for (i, (depth, node)) in rows.iter().enumerate() {
        row(&mut out, *depth, node, &scale, HEAD + ROW * i, now, at);
    }
    legend(&mut out, &rows, foot);
    out.push_str("</svg>");
    out
}

/// A text at a place.
fn push(out: &mut String, x: usize, y: usize, attributes: &str, text: &str) {
    writeln!(out, "<text x=\"{x}\" y=\"{y}\"{attributes}>{text}</text>").expect("a String takes all");
}

fn x(place: f64) -> f64 {
    LABEL as f64 + place * BAR as f64
}

fn axis(out: &mut String, scale: &Scale, from: i64, foot: usize) {
    const DIM: &str = " class=\"dim\" text-anchor=\"middle\"";
    let cuts = scale.cuts();
    for (middle, length) in &cuts {
        let x = x(*middle);
        let label = words::duration(*length);
        writeln!(
            out,
            "<path class=\"grid\" stroke-dasharray=\"4 4\" d=\"M{x:.1} {HEAD}V{foot}\"><title>not to scale: {label}</title></path>"
        )
        .expect("a String takes all");
        push(out, x as usize, HEAD - 8, DIM, &format!("⫽ {label}"));
    }
    for place in [0.0, 0.25, 0.5, 0.75, 1.0] {
        // Not where a cut has its label.
        let Some(time) = scale
            .time(place)
            .filter(|_| cuts.iter().all(|(middle, _)| (middle - place).abs() > 0.12))
        else {
            continue;
        };
        let x = x(place);
        writeln!(out, "<path class=\"grid\" d=\"M{x:.1} {HEAD}V{foot}\"/>").expect("a String takes all");
        push(out, x as usize, HEAD - 8, DIM, &words::duration(time - from));
    }
}

fn row(out: &mut String, depth: usize, node: &Node, scale: &Scale, y: usize, now: i64, at: &dyn Fn(i64) -> String) {
    let indent = 8 + 14 * depth.min(8);
    let base = y + 15;
    let took = node.took.map(words::duration).unwrap_or_default();
    let begin = node
        .marks
        .iter()
        .map(|mark| mark.from)
        .min()
        .map(at)
        .unwrap_or_default();
    let tooltip: Vec<&str> = [node.label.as_str(), &begin, &took, &node.note]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    let failed = if node.failed { " class=\"failed\"" } else { "" };
    writeln!(out, "<g{failed}><title>{}</title>", escape(&tooltip.join("\n"))).expect("a String takes all");
    push(
        out,
        indent,
        base,
        "",
        &escape(&fit(&node.label, characters(LABEL - indent))),
    );
    let mut marks: Vec<_> = node.marks.iter().collect();
    marks.sort_by_key(|mark| mark.style);
    for mark in marks {
        let (begin, end) = (
            x(scale.place(mark.from)),
            x(scale.place(mark.to.unwrap_or(now).max(mark.from))),
        );
        let (top, thick) = match mark.style {
            Style::Waiting | Style::Folded => (y + 9, 4),
            _ => (y + 4, 14),
        };
        let open = if mark.to.is_none() { " opacity=\"0.6\"" } else { "" };
        writeln!(
            out,
            "<rect class=\"{}\" x=\"{begin:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{thick}\" rx=\"2\"{open}/>",
            class(mark.style),
            (end - begin).max(2.0)
        )
        .expect("a String takes all");
    }
    push(out, LABEL + BAR + TOOK - 8, base, " text-anchor=\"end\"", &took);
    let tone = if node.failed {
        " class=\"bad\""
    } else {
        " class=\"dim\""
    };
    push(
        out,
        LABEL + BAR + TOOK,
        base,
        tone,
        &escape(&fit(&node.note, characters(NOTE))),
    );
    out.push_str("</g>\n");
}

fn legend(out: &mut String, rows: &[(usize, &Node)], foot: usize) {
    let mut left = 8;
    for (style, class, word) in CLASSES {
        if !rows
            .iter()
            .any(|(_, node)| node.marks.iter().any(|mark| mark.style == style))
        {
            continue;
        }
        writeln!(
            out,
            "<rect class=\"{class}\" x=\"{left}\" y=\"{}\" width=\"14\" height=\"10\" rx=\"2\"/>",
            foot + 8
        )
        .expect("a String takes all");
        push(out, left + 20, foot + 17, " class=\"dim\"", word);
        left += 36 + 8 * word.len();
    }
}
