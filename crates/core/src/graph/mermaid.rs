//! A graph as a flowchart of Mermaid.

use std::fmt::Write;

use super::{Edge, Graph, Group, Node, Shape, State};

const CLASSES: [(State, &str, &str); 4] = [
    (State::Done, "done", "fill:#d4f4dd,stroke:#1a7f37,color:#1f2328"),
    (State::Failed, "failed", "fill:#ffd8d3,stroke:#cf222e,color:#1f2328"),
    (State::Open, "open", "fill:#fff3c4,stroke:#9a6700,color:#1f2328"),
    (State::Dropped, "dropped", "fill:#e6e9ec,stroke:#59636e,color:#1f2328"),
];

/// Text between quotation marks. What Mermaid, Markdown or HTML could read as theirs becomes a numbered entity.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("<br/>"),
            c if c.is_control() => escaped.push(' '),
            '"' | '#' | '&' | '<' | '>' | '`' | '%' | '\\' | '$' | ';' | '{' | '}' => {
                write!(escaped, "#{};", u32::from(c)).expect("a String takes all");
            }
            c => escaped.push(c),
        }
    }
    escaped
}

pub(super) fn draw(graph: &Graph) -> String {
    let mut out = "flowchart TD\n".to_owned();
    let mut groups = 0;
    group(&mut out, graph, &graph.whole, 1, &mut groups);
    for Edge {
        from,
        to,
        label,
        guessed,
    } in &graph.edges
    {
        let arrow = if *guessed { "-.->" } else { "-->" };
        let label = if label.is_empty() {
            String::new()
        } else {
            format!("|\"{}\"|", escape(label))
        };
        writeln!(out, "    n{from} {arrow}{label} n{to}").expect("a String takes all");
    }
    for (state, class, style) in CLASSES {
        let nodes = graph.nodes.iter().enumerate().filter(|(_, node)| node.state == state);
        let nodes: Vec<String> = nodes.map(|(i, _)| format!("n{i}")).collect();
        if !nodes.is_empty() {
            writeln!(
                out,
                "    classDef {class} {style}\n    class {} {class}",
                nodes.join(",")
            )
            .expect("a String takes all");
        }
    }
    out
}

fn group(out: &mut String, graph: &Graph, of: &Group, depth: usize, groups: &mut usize) {
    let indent = "    ".repeat(depth);
    for i in &of.nodes {
        let Node { label, shape, .. } = &graph.nodes[*i];
        let (open, close) = match shape {
            Shape::End => ("([", "])"),
            Shape::Step => ("[", "]"),
            Shape::Wait => ("{{", "}}"),
            Shape::Task => ("[/", "/]"),
        };
        writeln!(out, "{indent}n{i}{open}\"{}\"{close}", escape(label)).expect("a String takes all");
    }
    for inner in &of.groups {
        *groups += 1;
        writeln!(out, "{indent}subgraph g{groups}[\"{}\"]", escape(&inner.label)).expect("a String takes all");
        group(out, graph, inner, depth + 1, groups);
        writeln!(out, "{indent}end").expect("a String takes all");
    }
}
