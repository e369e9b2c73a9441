//! Timelines of what goes on just now, of long histories, and for those who may see them.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use pg_workflow_server_tests::*;

const SLOW: &str = "CREATE FUNCTION slow(input jsonb) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('quick', 'SELECT 1');
        PERFORM wf_step('nap', 'SELECT pg_sleep(600)');
        RETURN 'done';
    END $$";

/// The lines of a timeline.
fn timeline(db: &mut Client, id: &str) -> Vec<String> {
    db.all(&format!("SELECT wf_timeline('{id}')"))
}

#[test]
fn a_step_that_runs_is_seen_while_it_does_and_only_by_those_who_may() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; GRANT CREATE ON SCHEMA public TO alice, bob");
    let (mut alice, mut bob) = (cluster.connect("postgres", "alice"), cluster.connect("postgres", "bob"));
    alice.run(SLOW);
    alice.run("SELECT wf_start('slow', id => 'a')");
    alice.in_step("a", "nap");
    let row: (String, bool) = alice
        .query_one(
            "SELECT status, finished_at IS NULL AND started_at <= clock_timestamp() FROM wf.timeline WHERE id = 'a' AND name = 'nap'",
            &[],
        )
        .map(|row| (row.get(0), row.get(1)))
        .unwrap();
    assert_eq!(row, ("running".to_owned(), true));
    let lines = timeline(&mut alice, "a");
    let nap = lines.iter().find(|line| line.starts_with("nap ")).expect("a line");
    assert!(nap.contains('█') && nap.ends_with("running"), "{lines:#?}");
    assert!(
        lines[0].contains("| slow |") && lines[0].contains("running, "),
        "{lines:#?}"
    );

    // By a parser, where the server has one.
    let parsed = alice.query_one("SELECT xml_is_well_formed_document(wf_timeline_svg('a'))", &[]);
    match parsed {
        Ok(row) => assert!(row.get::<_, bool>(0)),
        Err(error) => assert_eq!(failure_of(&error).sqlstate, "0A000"),
    }

    // Bob sees nothing of it: no row, no picture, no edge of a graph. The function's source is for all to read.
    assert_eq!(bob.count("wf.timeline"), 0);
    for call in ["wf_timeline('a')", "wf_timeline_svg('a')", "wf_graph('a')"] {
        assert_eq!(bob.fails(&format!("SELECT {call}")).sqlstate, "42704", "{call}");
    }
    let graph: String = bob.one("SELECT wf_graph('slow')");
    assert!(graph.contains("from its source"), "{graph}");
    let graph: String = alice.one("SELECT wf_graph('slow')");
    assert!(graph.contains("1 instance") && graph.contains("\"quick\""), "{graph}");
    // An instance with the name of a workflow is in nobody's way but its owner's.
    alice.run("SELECT wf_start('slow', id => 'slow')");
    let graph: String = bob.one("SELECT wf_graph('slow')");
    assert!(graph.contains("from its source"), "{graph}");
    bob.run("CREATE FUNCTION leak(text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$");
    assert_eq!(bob.count("wf.timeline WHERE leak(name)"), 0);

    // psql's \watch is a live view: each round is drawn anew.
    let mut psql = program("psql")
        .args(["-X", "-A", "-t", "-U", "alice", "-d", "postgres", "-h"])
        .arg(cluster.socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("psql starts");
    let mut input = psql.stdin.take().unwrap();
    input.write_all(b"SELECT wf_timeline('a') \\watch 0.1\n").unwrap();
    input.flush().unwrap();
    let output = BufReader::new(psql.stdout.take().unwrap());
    let drawn = output
        .lines()
        .map_while(Result::ok)
        .filter(|line| line.starts_with("nap "))
        .take(3)
        .count();
    let _ = psql.kill();
    let _ = psql.wait();
    assert_eq!(drawn, 3);
}

#[test]
fn long_histories_are_read_and_drawn_in_part() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE PROCEDURE long(input jsonb, INOUT result jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
        BEGIN FOR i IN 1..1500 LOOP CALL wf_step('s' || i, 'SELECT 1', 'null', result); END LOOP; END $$",
    );
    db.run(
        "CREATE FUNCTION many(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
        BEGIN RETURN wf_map('kids', items => '[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]', workflow => 'kid'); END $$",
    );
    db.run("CREATE FUNCTION kid(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('work', 'SELECT 1'); END $$");
    db.run("SELECT wf_start('long', id => 'long'), wf_start('many', id => 'many')");
    db.result("long");
    let lines = timeline(&mut db, "long");
    // Title, axis and legend; the queue and 19 steps, what is left out, 20 steps.
    assert!(lines.len() <= 3 + 20 + 3 + 20, "{lines:#?}");
    let left_out: usize = lines
        .iter()
        .filter(|line| line.starts_with("… "))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words[1].replace(',', "").parse::<usize>().unwrap()
        })
        .sum();
    let steps = lines.iter().filter(|line| line.starts_with('s')).count();
    assert_eq!(left_out + steps, 1500, "{lines:#?}");
    let graph: String = db.one("SELECT wf_graph('long')");
    assert!(graph.lines().count() < 200, "{graph}");

    // Children that are items of a map.
    db.result("many");
    let lines = timeline(&mut db, "many");
    assert!(lines.iter().any(|line| line.starts_with("  [1] ")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("    work ")), "{lines:#?}");
    let graph: String = db.one("SELECT wf_graph('many', 'dot')");
    assert!(
        graph.contains("subgraph cluster_") && graph.contains("label=\"work"),
        "{graph}"
    );
}
