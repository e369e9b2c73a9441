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
    check(&Graph::of_instance(&order()).draw(Format::Mermaid), &[]);
}

#[test]
fn the_same_for_graphviz() {
    check(&Graph::of_instance(&order()).draw(Format::Dot), &[]);
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
    check(&Graph::of_histories("order_flow", 3, &steps).draw(Format::Mermaid), &[]);
}

#[test]
fn a_workflow_by_its_source() {
    let source = "BEGIN PERFORM wf_step('take', 'take', x);\n IF wf_wait_signal('go') THEN PERFORM wf_step(v, 'give'); END IF;\n PERFORM wf_sleep('1 h'); END";
    let graph = Graph::of_source("order_flow", &crate::lint::calls(source));
    check(&graph.draw(Format::Mermaid), &[]);
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
