//! A graph in the language of Graphviz.

use std::fmt::Write;

use super::{Edge, Graph, Group, Node, Shape, State};

/// Text between quotation marks.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '"' | '\\' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

pub(super) fn draw(graph: &Graph) -> String {
    let mut out = "digraph workflow {\n    node [shape=box, style=filled, fillcolor=white, fontname=\"sans-serif\"];\n"
        .to_owned();
    let mut groups = 0;
    group(&mut out, graph, &graph.whole, 1, &mut groups);
    for Edge {
        from,
        to,
        label,
        guessed,
    } in &graph.edges
    {
        let mut attributes = Vec::new();
        if !label.is_empty() {
            attributes.push(format!("label=\"{}\"", escape(label)));
        }
        if *guessed {
            attributes.push("style=dashed".to_owned());
        }
        let attributes = if attributes.is_empty() {
            String::new()
        } else {
            format!(" [{}]", attributes.join(", "))
        };
        writeln!(out, "    n{from} -> n{to}{attributes};").expect("a String takes all");
    }
    out.push_str("}\n");
    out
}

fn group(out: &mut String, graph: &Graph, of: &Group, depth: usize, groups: &mut usize) {
    let indent = "    ".repeat(depth);
    for i in &of.nodes {
        let Node { label, shape, state } = &graph.nodes[*i];
        let shape = match shape {
            Shape::End => ", shape=oval",
            Shape::Step => "",
            Shape::Wait => ", shape=hexagon",
            Shape::Task => ", shape=parallelogram",
        };
        let colour = match state {
            State::Done => ", fillcolor=\"#d4f4dd\", color=\"#1a7f37\"",
            State::Failed => ", fillcolor=\"#ffd8d3\", color=\"#cf222e\"",
            State::Open => ", fillcolor=\"#fff3c4\", color=\"#9a6700\"",
            State::Dropped => ", fillcolor=\"#e6e9ec\", color=\"#59636e\"",
            State::Plain => "",
        };
        writeln!(out, "{indent}n{i} [label=\"{}\"{shape}{colour}];", escape(label)).expect("a String takes all");
    }
    for inner in &of.groups {
        *groups += 1;
        writeln!(
            out,
            "{indent}subgraph cluster_{groups} {{\n{indent}    label=\"{}\";",
            escape(&inner.label)
        )
        .expect("a String takes all");
        group(out, graph, inner, depth + 1, groups);
        writeln!(out, "{indent}}}").expect("a String takes all");
    }
}
