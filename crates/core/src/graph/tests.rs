use proptest::prelude::*;

use super::*;
use crate::timeline::{Event, Mark, Style};

fn check(drawn: &str, expected: &[&str]) {
    assert_eq!(drawn.lines().collect::<Vec<_>>(), expected, "\n{drawn}");
}

fn at(_: i64) -> String {
    "then".to_owned()
}

fn event(nr: i64, parent: i64, kind: &str, name: &str, times: (i64, Option<i64>)) -> Event {
    Event {
        nr,
        parent: (parent > 0).then_some(parent),
        kind: kind.to_owned(),
        name: name.to_owned(),
        status: if times.1.is_some() { "completed" } else { "waiting" }.to_owned(),
        started: Some(times.0),
        finished: times.1,
        ..Event::default()
    }
}

fn order() -> Timeline {
    let item = |nr, item, times| Event {
        item,
        ..event(nr, 5, "branch", "pages", times)
    };
    let mut failed = event(9, 1, "step", "ship", (500, Some(600)));
    failed.status = "failed".to_owned();
    failed.error = Some("no \"way\"".to_owned());
    let mut whole = event(1, 0, "run", "order_flow", (0, Some(600)));
    whole.status = "failed".to_owned();
    let events = vec![
        whole,
        event(2, 1, "step", "take", (0, Some(100))),
        // Begun, side by side.
        event(3, 1, "step", "left", (100, Some(300))),
        event(4, 1, "step", "right", (100, Some(250))),
        event(5, 1, "map", "pages", (300, Some(400))),
        item(6, 1, (310, Some(320))),
        item(7, 2, (320, Some(330))),
        event(8, 1, "signal", "go", (400, Some(500))),
        failed,
    ];
    Timeline::new("order-42", 1, events, 0, 0, &at).unwrap()
}

#[test]
fn an_instance_as_it_went() {
    check(
        &Graph::of_instance(&order()).draw(Format::Mermaid),
        &[
            "flowchart TD",
            r#"    n0(["order-42<br/>order_flow"])"#,
            r#"    n1["take<br/>100 µs"]"#,
            r#"    n2["left<br/>200 µs"]"#,
            r#"    n3["right<br/>150 µs"]"#,
            r#"    n6{{"go (signal)<br/>100 µs"}}"#,
            r#"    n7["ship<br/>100 µs<br/>failed: no #34;way#34;"]"#,
            r#"    n8(["failed"])"#,
            r#"    subgraph g1["pages (map)"]"#,
            r#"        n4["[1]<br/>10 µs"]"#,
            r#"        n5["[2]<br/>10 µs"]"#,
            "    end",
            "    n1 --> n2",
            "    n1 --> n3",
            "    n2 --> n4",
            "    n2 --> n5",
            "    n3 --> n4",
            "    n3 --> n5",
            "    n4 --> n6",
            "    n5 --> n6",
            "    n6 --> n7",
            "    n0 --> n1",
            "    n7 --> n8",
            "    classDef done fill:#d4f4dd,stroke:#1a7f37,color:#1f2328",
            "    class n1,n2,n3,n4,n5,n6 done",
            "    classDef failed fill:#ffd8d3,stroke:#cf222e,color:#1f2328",
            "    class n7,n8 failed",
        ],
    );
}

#[test]
fn the_same_for_graphviz() {
    check(
        &Graph::of_instance(&order()).draw(Format::Dot),
        &[
            "digraph workflow {",
            r#"    node [shape=box, style=filled, fillcolor=white, fontname="sans-serif"];"#,
            r#"    n0 [label="order-42\norder_flow", shape=oval];"#,
            r##"    n1 [label="take\n100 µs", fillcolor="#d4f4dd", color="#1a7f37"];"##,
            r##"    n2 [label="left\n200 µs", fillcolor="#d4f4dd", color="#1a7f37"];"##,
            r##"    n3 [label="right\n150 µs", fillcolor="#d4f4dd", color="#1a7f37"];"##,
            r##"    n6 [label="go (signal)\n100 µs", shape=hexagon, fillcolor="#d4f4dd", color="#1a7f37"];"##,
            r##"    n7 [label="ship\n100 µs\nfailed: no \"way\"", fillcolor="#ffd8d3", color="#cf222e"];"##,
            r##"    n8 [label="failed", shape=oval, fillcolor="#ffd8d3", color="#cf222e"];"##,
            "    subgraph cluster_1 {",
            r#"        label="pages (map)";"#,
            r##"        n4 [label="[1]\n10 µs", fillcolor="#d4f4dd", color="#1a7f37"];"##,
            r##"        n5 [label="[2]\n10 µs", fillcolor="#d4f4dd", color="#1a7f37"];"##,
            "    }",
            "    n1 -> n2;",
            "    n1 -> n3;",
            "    n2 -> n4;",
            "    n2 -> n5;",
            "    n3 -> n4;",
            "    n3 -> n5;",
            "    n4 -> n6;",
            "    n5 -> n6;",
            "    n6 -> n7;",
            "    n0 -> n1;",
            "    n7 -> n8;",
            "}",
        ],
    );
}

#[test]
fn a_workflow_by_its_histories() {
    let place = |kind: &str, name: &str| Place {
        kind: kind.to_owned(),
        name: name.to_owned(),
    };
    let step = |from, to, times| Step { from, to, times };
    let steps = [
        step(place("begin", ""), place("step", "take"), 3),
        step(place("step", "take"), place("signal", "go"), 3),
        step(place("signal", "go"), place("end", "completed"), 2),
        step(place("signal", "go"), place("end", "failed"), 1),
    ];
    check(
        &Graph::of_histories("order_flow", 3, &steps).draw(Format::Mermaid),
        &[
            "flowchart TD",
            r#"    n0(["order_flow<br/>3 instances"])"#,
            r#"    n1["take"]"#,
            r#"    n2{{"go (signal)"}}"#,
            r#"    n3(["completed"])"#,
            r#"    n4(["failed"])"#,
            r#"    n0 -->|"3"| n1"#,
            r#"    n1 -->|"3"| n2"#,
            r#"    n2 -->|"2"| n3"#,
            r#"    n2 -->|"1"| n4"#,
            "    classDef done fill:#d4f4dd,stroke:#1a7f37,color:#1f2328",
            "    class n3 done",
            "    classDef failed fill:#ffd8d3,stroke:#cf222e,color:#1f2328",
            "    class n4 failed",
        ],
    );
}

#[test]
fn a_workflow_by_its_source() {
    let source = "BEGIN PERFORM wf_step('take', 'take', x);\n IF wf_wait_signal('go') THEN PERFORM wf_step(v, 'give'); END IF;\n PERFORM wf_sleep('1 h'); END";
    let graph = Graph::of_source("order_flow", &crate::lint::calls(source));
    check(
        &graph.draw(Format::Mermaid),
        &[
            "flowchart TD",
            r#"    n0(["order_flow<br/>from its source"])"#,
            r#"    n1["take<br/>line 1"]"#,
            r#"    n2{{"go (signal)<br/>line 2"}}"#,
            r#"    n3["?<br/>line 2"]"#,
            r#"    n4{{"sleep<br/>line 3"}}"#,
            "    n0 -.-> n1",
            "    n1 -.-> n2",
            "    n2 -.-> n3",
            "    n3 -.-> n4",
        ],
    );
}

/// Lines as they may be, with labels that would like to be something else.
fn any_line() -> impl Strategy<Value = Line> {
    let label = prop_oneof![any::<String>(), "[\"#;<>`%{}\\\\\\n|\\[\\]a-z-]{0,20}"];
    let kind = prop::sample::select(vec!["step", "map", "signal", "task", "child", "gap", "queue"]);
    let leaf =
        (label, kind, 0_i64..100, proptest::option::of(0_i64..100)).prop_map(|(label, kind, from, length)| Line {
            note: label.clone(),
            label,
            kind: kind.to_owned(),
            marks: vec![Mark {
                style: Style::Running,
                from,
                to: length.map(|length| from + length),
            }],
            ..Line::default()
        });
    leaf.prop_recursive(3, 30, 6, |inner| {
        (inner.clone(), prop::collection::vec(inner, 0..6)).prop_map(|(line, inside)| Line { inside, ..line })
    })
}

proptest! {
    /// As by the grammar of flowcharts: each line is one of a few, and each label is closed where it should be.
    #[test]
    fn labels_cannot_break_out(lines in prop::collection::vec(any_line(), 0..12)) {
        let timeline = Timeline { lines, ..order() };
        let graph = Graph::of_instance(&timeline);
        let mut open = 0;
        for line in graph.draw(Format::Mermaid).lines() {
            let quotes = line.matches('"').count();
            prop_assert!(quotes == 0 || quotes == 2, "{line}");
            let bare = line.trim();
            open += i32::from(bare.starts_with("subgraph ")) - i32::from(bare == "end");
            let first = bare.chars().next().unwrap();
            prop_assert!(matches!(first, 'n' | 'f' | 's' | 'c') || bare == "end", "{line}");
            if let Some(label) = line.split('"').nth(1) {
                prop_assert!(!label.replace("<br/>", "").contains(['<', '>', '`', '{', '}', '%', '&']), "{line}");
            }
        }
        prop_assert_eq!(open, 0);
        for line in graph.draw(Format::Dot).lines() {
            let bare = line.replace("\\\\", "").replace("\\\"", "");
            prop_assert!(bare.matches('"').count() % 2 == 0, "{line}");
        }
    }
}
