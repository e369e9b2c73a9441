use proptest::prelude::*;

use super::*;

const MS: i64 = 1000;
const SECOND: i64 = 1000 * MS;
const DAY: i64 = 86_400 * SECOND;

fn at(time: i64) -> String {
    format!("t+{}", words::duration(time))
}

fn event(nr: i64, kind: &str, name: &str, started: i64, finished: Option<i64>) -> Event {
    Event {
        nr,
        parent: (nr > 1).then_some(1),
        kind: kind.to_owned(),
        name: name.to_owned(),
        status: if finished.is_some() { "completed" } else { "waiting" }.to_owned(),
        attempts: 1,
        occurrence: 1,
        started: Some(started),
        finished,
        ..Event::default()
    }
}

fn part(nr: i64, of: i64, kind: &str, started: i64, finished: Option<i64>) -> Event {
    Event {
        parent: Some(of),
        ..event(nr, kind, "", started, finished)
    }
}

fn drawn(events: Vec<Event>, width: usize, now: i64) -> String {
    let timeline = Timeline::new("order-42", 1, events, 0, 0, &at).expect("events");
    text(&timeline, width, now, &at).join("\n")
}

fn check(drawn: &str, expected: &[&str]) {
    assert_eq!(drawn.lines().collect::<Vec<_>>(), expected, "\n{drawn}");
}

#[test]
fn what_is_queued_runs_retries_and_waits_is_told_apart() {
    let mut charge = event(4, "step", "charge", 40 * MS, Some(80 * MS));
    charge.attempts = 3;
    let events = vec![
        event(1, "run", "order_flow", 0, Some(120 * MS)),
        event(2, "queue", "order_flow", 0, Some(20 * MS)),
        event(3, "step", "take", 20 * MS, Some(40 * MS)),
        charge,
        part(5, 4, "retry", 40 * MS, Some(80 * MS)),
        event(6, "signal", "approval", 80 * MS, Some(100 * MS)),
        event(7, "task", "mail", 100 * MS, Some(120 * MS)),
        part(8, 7, "queue", 100 * MS, Some(110 * MS)),
    ];
    check(
        &drawn(events, 100, 120 * MS),
        &[
            "order-42 | order_flow | t+0 µs | completed after 120 ms",
            "                   |0             |30 ms          |60 ms         |90 ms   120 ms|",
            "(queue)            ░░░░░░░░░░░                                                     20 ms",
            "take                         ███████████                                           20 ms",
            "charge                                 ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒                      40 ms  3 attempts",
            "approval (signal)                                           ───────────            20 ms",
            "mail (task)                                                           ░░░░░██████  20 ms",
            "░ queued  █ running  ▒ attempts and the waits between them  ─ waiting",
        ],
    );
}

#[test]
fn long_waits_are_cut_and_say_so() {
    let events = vec![
        event(1, "run", "reminder", 0, Some(3 * DAY + 6 * MS)),
        event(2, "step", "first", 0, Some(2 * MS)),
        event(3, "sleep", "sleep", 2 * MS, Some(3 * DAY + 2 * MS)),
        event(4, "step", "second", 3 * DAY + 2 * MS, Some(3 * DAY + 6 * MS)),
    ];
    check(
        &drawn(events, 80, 4 * DAY),
        &[
            "order-42 | reminder | t+0 µs | completed after 3 d",
            "          |0                      ╱╱ 3 d                |3 d        3 d|",
            "first     ███████████                                                     2 ms",
            "sleep               ──────────────╱╱────────────────                       3 d",
            "second                                             █████████████████████  4 ms",
            "█ running  ─ waiting  ╱╱ not to scale",
        ],
    );
}

#[test]
fn what_is_open_goes_on_until_now() {
    let mut approval = event(3, "signal", "approval", 2 * SECOND, None);
    approval.due = Some(DAY);
    let events = vec![
        event(1, "run", "order_flow", 0, None),
        event(2, "step", "take", 0, Some(2 * SECOND)),
        approval,
    ];
    check(
        &drawn(events, 80, 10 * SECOND),
        &[
            "order-42 | order_flow | t+0 µs | waiting, 10 s so far",
            "                   |0        |2.5 s     |5 s            10 s|",
            "take               █████████                                    2 s",
            "approval (signal)          ──────────────────────────────────  8 s…  until t+1 d",
            "█ running  ─ waiting",
        ],
    );
}

#[test]
fn loops_and_long_histories_are_folded() {
    let mut events = vec![event(1, "run", "poller", 0, Some(300 * SECOND))];
    for round in 0..100 {
        let begin = 3 * round * SECOND;
        let n = i64::try_from(events.len()).unwrap();
        let (occurrence, status) = (round as i32 + 1, if round == 50 { "failed" } else { "completed" });
        let with = |event: Event| Event { occurrence, ..event };
        events.push(with(Event {
            status: status.to_owned(),
            error: (status == "failed").then(|| "no answer".to_owned()),
            ..event(n + 1, "step", "poll", begin, Some(begin + SECOND))
        }));
        events.push(with(event(
            n + 2,
            "sleep",
            "sleep",
            begin + SECOND,
            Some(begin + 3 * SECOND),
        )));
    }
    check(
        &drawn(events, 80, 300 * SECOND),
        &[
            "order-42 | poller | t+0 µs | completed after 5 min",
            "            |0                |2 min 30 s  5 min|",
            "poll        █                                             1 s",
            "sleep       ─                                             2 s",
            "… 96 more   ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄                    2 min 24 s",
            "poll #50                      █                           1 s",
            "sleep #50                     ─                           2 s",
            "poll #51                      █                           1 s  failed: no answer",
            "sleep #51                     ─                           2 s",
            "poll #52                      █                           1 s",
            "… 94 more                     ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄  2 min 21 s",
            "sleep #99                                       ─         2 s",
            "poll #100                                       █         1 s",
            "sleep #100                                      ─         2 s",
            "█ running  ─ waiting  ┄ left out",
        ],
    );
    let mut events = vec![event(1, "run", "long", 0, Some(10_000 * SECOND))];
    events.extend((0..10_000).map(|i| event(i + 2, "step", &format!("s{i}"), i * SECOND, Some((i + 1) * SECOND))));
    let picture = drawn(events, 80, 0);
    assert_eq!(picture.lines().count(), 3 + 41, "{picture}");
    assert!(picture.contains("\n… 9,960 more "), "{picture}");
}

#[test]
fn children_lie_within_their_call() {
    let child = vec![
        event(1, "run", "ship", 2 * SECOND, Some(8 * SECOND)),
        event(2, "queue", "ship", 2 * SECOND, Some(3 * SECOND)),
        event(3, "step", "pack", 3 * SECOND, Some(8 * SECOND)),
    ];
    let mut call = event(3, "child", "ship", 2 * SECOND, Some(9 * SECOND));
    call.child = Some("order-42/ship".to_owned());
    let parent = vec![
        event(1, "run", "order_flow", 0, Some(10 * SECOND)),
        event(2, "step", "take", 0, Some(2 * SECOND)),
        call,
    ];
    let mut timeline = Timeline::new("order-42", 2, parent, 0, 0, &at).unwrap();
    for node in timeline.children() {
        node.nest(Timeline::new("order-42/ship", 1, child.clone(), 0, 0, &at).unwrap());
    }
    check(
        &text(&timeline, 90, 10 * SECOND, &at).join("\n"),
        &[
            "order-42 (run 2) | order_flow | t+0 µs | completed after 10 s",
            "              |0               |2.5 s           |5 s             |7.5 s       10 s|",
            "take          ██████████████                                                         2 s",
            "ship (child)               ░░░░░░░░──────────────────────────────────────────        7 s",
            "  pack                            ████████████████████████████████████               5 s",
            "░ queued  █ running  ─ waiting",
        ],
    );
    let picture = svg(&timeline, 10 * SECOND, &at);
    assert!(picture.contains("<title>pack\nt+3 s\n5 s</title>"), "{picture}");
}

#[test]
fn events_left_out_before_are_counted_where_they_were() {
    let mut events = vec![
        event(1, "run", "long", 0, Some(10 * SECOND)),
        event(2, "map", "pages", 0, Some(10 * SECOND)),
    ];
    for (nr, item) in [(3, 1), (500, 498_i32)] {
        events.push(Event {
            item,
            ..part(nr, 2, "branch", item.into(), Some(i64::from(item) + SECOND))
        });
    }
    let timeline = Timeline::new("long", 1, events, 496, 500, &at).unwrap();
    let lines: Vec<_> = timeline
        .rows()
        .iter()
        .map(|(depth, node)| (*depth, node.label.clone()))
        .collect();
    let expected = [(0, "pages (map)"), (1, "[1]"), (1, "… 496 more"), (1, "[498]")];
    assert_eq!(lines, expected.map(|(depth, label)| (depth, label.to_owned())));
}

#[test]
fn labels_cannot_break_out_of_an_svg() {
    let name = "<script>alert(\"1\")</script>&'\u{1b}\u{0}";
    let events = vec![event(1, "run", name, 0, None), event(2, "step", name, 0, None)];
    let timeline = Timeline::new(name, 1, events, 0, 0, &at).unwrap();
    let picture = svg(&timeline, SECOND, &at);
    assert!(
        !picture.contains("<script") && picture.contains("&lt;script&gt;"),
        "{picture}"
    );
    assert!(is_well_formed(&picture), "{picture}");
}

/// As far as an SVG of ours needs it: elements are closed in turn, attributes quoted, entities known.
fn is_well_formed(xml: &str) -> bool {
    let mut open = Vec::new();
    let mut pieces = xml.split('<');
    let text_is_fine = |text: &str| {
        !text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t'))
            && text.split('&').skip(1).all(|rest| {
                ["amp;", "lt;", "gt;", "quot;", "#39;"]
                    .iter()
                    .any(|e| rest.starts_with(e))
            })
    };
    if pieces.next() != Some("") {
        return false;
    }
    for piece in pieces {
        let Some((tag, text)) = piece.split_once('>') else {
            return false;
        };
        let name = tag.trim_matches('/').split(' ').next().unwrap_or_default();
        if tag.matches('"').count() % 2 != 0 || !text_is_fine(text) || !text_is_fine(tag) {
            return false;
        }
        if tag.starts_with('/') {
            if open.pop() != Some(name) {
                return false;
            }
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    open.is_empty()
}

fn any_event() -> impl Strategy<Value = Event> {
    let kinds = prop::sample::select(vec![
        "run",
        "delay",
        "queue",
        "step",
        "retry",
        "attempt",
        "sleep",
        "signal",
        "task",
        "child",
        "map",
        "branch",
        "compensation",
        "set",
        "value",
        "pause",
        "action",
        "what",
    ]);
    let status = prop::sample::select(vec![
        "completed",
        "failed",
        "retrying",
        "waiting",
        "running",
        "cancelled",
        "",
    ]);
    let times = (
        proptest::option::of(any::<i64>()),
        proptest::option::of(-5000_i64..5000),
        any::<Option<i64>>(),
    );
    let texts = (
        "\\PC{0,20}|[\\x00-\\x7f]{0,80}",
        any::<Option<String>>(),
        any::<Option<String>>(),
    );
    (
        1_i64..40,
        proptest::option::of(0_i64..40),
        kinds,
        status,
        times,
        texts,
        any::<(i32, i32)>(),
    )
        .prop_map(
            |(nr, parent, kind, status, (started, length, due), (name, error, child), (attempts, item))| Event {
                nr,
                parent,
                kind: kind.to_owned(),
                name,
                status: status.to_owned(),
                attempts,
                occurrence: item,
                item,
                started,
                finished: started.zip(length).map(|(from, length)| from.saturating_add(length)),
                due,
                error,
                child,
                remark: None,
            },
        )
}

proptest! {
    #[test]
    fn no_line_is_wider_than_asked(
        mut events in prop::collection::vec(any_event(), 1..60), width in 40_usize..200, omitted: u16, now in 0..9 * DAY
    ) {
        events.sort_by_key(|event| event.nr);
        events.dedup_by_key(|event| event.nr);
        let timeline = Timeline::new("id", 3, events, omitted.into(), 20, &at).unwrap();
        for line in text(&timeline, width, now, &at) {
            prop_assert!(line.chars().count() <= width, "{line}");
        }
        let picture = svg(&timeline, now, &at);
        prop_assert!(is_well_formed(&picture), "{picture}");
        prop_assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }

    #[test]
    fn the_axis_goes_from_left_to_right(lengths in prop::collection::vec((0_i64..DAY, any::<bool>()), 1..20)) {
        let mut end = 0;
        let nodes: Vec<Node> = lengths.iter().map(|(length, runs)| {
            let style = if *runs { Style::Running } else { Style::Waiting };
            let mark = Mark { style, from: end, to: Some(end + length) };
            end += length;
            Node { marks: vec![mark], ..Node::default() }
        }).collect();
        let scale = scale::Scale::of(&nodes, 0, end);
        let mut before = 0.0;
        for step in 0..=50 {
            let place = scale.place(end / 50 * step);
            prop_assert!((0.0..=1.0).contains(&place) && place >= before);
            before = place;
        }
    }
}
