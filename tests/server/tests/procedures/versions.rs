//! Pinned code, divergence, and the forms of arguments and results.

use super::*;

#[test]
fn it_ends_on_the_code_that_it_began_with() {
    let (cluster, mut db) = effects(&[]);
    let body = |version: i32| {
        format!(
            "FOR i IN 1..200 LOOP {} END LOOP;
             r := wf_wait_signal('go');
             FOR i IN 1..200 LOOP {} END LOOP;
             result := to_jsonb('version {version}'::text);",
            step("before", &format!("'{version}'")),
            step("after", &format!("'{version}'"))
        )
    };
    procedure(&mut db, "flow", "", &body(1));
    start(&mut db, "flow", "a", &json!({}));
    start(&mut db, "flow", "b", &json!({}));
    for id in ["a", "b"] {
        db.waits_for(id, "signal");
    }
    procedure(&mut db, "flow", "", &body(2));
    start(&mut db, "flow", "c", &json!({}));
    db.waits_for("c", "signal");
    db.run("SELECT wf_signal('a', 'go')");
    let before = calls(&cluster, "flow");
    assert_eq!(db.result("a"), json!("version 1"));
    // In place even so.
    assert!(calls(&cluster, "flow") - before <= 8);
    db.run("DROP PROCEDURE flow; SELECT wf_signal('b', 'go'); SELECT wf_signal('c', 'go')");
    assert_eq!(db.result("b"), json!("version 1"));
    assert_eq!(db.result("c"), json!("version 2"));
    assert_eq!(
        db.all::<String>("SELECT what || ' ' || count(*) FROM effects GROUP BY what ORDER BY what"),
        ["1 800", "2 400"]
    );
    assert_eq!(
        db.all::<String>("SELECT DISTINCT prokind::text FROM pg_proc WHERE pronamespace = 'wf_versions'::regnamespace"),
        ["p"]
    );
    assert_eq!(db.fails("SELECT wf_start('flow')").sqlstate, "42883");

    // Replaced and dropped while a chain runs.
    db.run("TRUNCATE effects");
    let many = |version: &str| {
        format!(
            "FOR i IN 1..3000 LOOP {} END LOOP; result := r;",
            step("link", &format!("'{version}'"))
        )
    };
    procedure(&mut db, "runs", "", &many("old"));
    start(&mut db, "runs", "r1", &json!({}));
    effects_reach(&mut db, 60);
    procedure(&mut db, "runs", "", &many("new"));
    start(&mut db, "runs", "r2", &json!({}));
    effects_reach(&mut db, 200);
    db.run("DROP PROCEDURE runs");
    assert_eq!(db.result("r1"), json!("old"));
    assert_eq!(db.result("r2"), json!("new"));
    assert_eq!(
        db.all::<String>("SELECT what || ' ' || count(*) FROM effects GROUP BY what ORDER BY what"),
        ["new 3000", "old 3000"]
    );
    // What a procedure calls is not pinned, and counts from its next call on.
    db.run("TRUNCATE effects");
    db.run("CREATE PROCEDURE part(INOUT r jsonb) LANGUAGE plpgsql AS $$ BEGIN CALL wf_step('part', 'effect', '{\"what\": \"old part\"}', r); END $$");
    procedure(
        &mut db,
        "whole",
        "",
        "CALL part(r); PERFORM wf_wait_signal('go'); CALL part(r); result := r;",
    );
    start(&mut db, "whole", "w", &json!({}));
    db.waits_for("w", "signal");
    db.run("CREATE OR REPLACE PROCEDURE part(INOUT r jsonb) LANGUAGE plpgsql AS $$ BEGIN CALL wf_step('part', 'effect', '{\"what\": \"new part\"}', r); END $$");
    // In a transaction of its own: Postgres announces a change of the catalogue a moment after the commit that makes it.
    db.run("SELECT wf_signal('w', 'go')");
    assert_eq!(db.result("w"), json!("new part"));
    assert_eq!(log(&mut db), ["old part", "new part"]);
}

#[test]
fn another_path_than_the_history_is_refused() {
    let (_cluster, mut db) = effects(&[]);
    db.run("CREATE TABLE flag (path text)");
    let fifty = format!("FOR i IN 1..50 LOOP {} END LOOP;", step("before", "'before'"));
    procedure(
        &mut db,
        "wavers",
        "",
        &format!(
            "{fifty}
             CASE (SELECT path FROM flag)
                 WHEN 'left' THEN {}
                 WHEN 'right' THEN {}
                 WHEN 'wait' THEN PERFORM wf_sleep('1 ms');
                 WHEN 'end' THEN RETURN;
                 WHEN 'block' THEN BEGIN {} EXCEPTION WHEN OTHERS THEN NULL; END;
             END CASE;
             PERFORM wf_wait_signal('go');
             {}",
            step("left", "'left'"),
            step("right", "'right'"),
            step("right", "'right'"),
            step("after", "'after'")
        ),
    );
    for (path, found) in [
        ("right", "step \"right\""),
        ("wait", "sleep \"sleep\""),
        ("end", "the end of the workflow"),
        ("block", "step \"right\""),
    ] {
        db.run("TRUNCATE effects; TRUNCATE flag; INSERT INTO flag VALUES ('left')");
        start(&mut db, "wavers", path, &json!({}));
        db.waits_for(path, "signal");
        db.run(&format!(
            "UPDATE flag SET path = '{path}'; SELECT wf_signal('{path}', 'go')"
        ));
        let failure = db.failure(path);
        assert_eq!(
            (failure.sqlstate.as_str(), failure.message.as_str()),
            ("WF001", "replay took another path than its history")
        );
        assert_eq!(failure.detail, format!("Expected step \"left\", found {found}."));
        assert_eq!(db.count("effects"), 51, "{path}");
    }
    queues_are_empty(&mut db);
}

#[test]
fn arguments_and_results_of_every_form() {
    let (_cluster, mut db) = effects(&[]);
    db.run(
        "CREATE PROCEDURE named(a int, b text DEFAULT 'd', INOUT result jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
         DECLARE r jsonb;
         BEGIN
             FOR i IN 1..80 LOOP CALL wf_step('s', 'effect', jsonb_build_object('what', b || i), r); END LOOP;
             result := jsonb_build_array(a, b, r);
         END $$;
         CREATE PROCEDURE no_out(a int) LANGUAGE plpgsql AS $$
         DECLARE r jsonb;
         BEGIN FOR i IN 1..a LOOP CALL wf_step('s', 'effect', '{\"what\": \"x\"}', r); END LOOP; END $$;
         CREATE PROCEDURE nothing() LANGUAGE plpgsql AS $$
         DECLARE r jsonb;
         BEGIN CALL wf_step('s', 'effect', '{\"what\": \"x\"}', r); END $$;
         CREATE PROCEDURE several(input jsonb, INOUT a int, INOUT b text, INOUT c jsonb DEFAULT '[1]') LANGUAGE plpgsql AS $$
         DECLARE r jsonb;
         BEGIN FOR i IN 1..80 LOOP CALL wf_step('s', 'SELECT 5', '{}', r); END LOOP; a := r->0; b := 'x'; c := c || input; END $$;
         CREATE PROCEDURE adds(INOUT n int, d date) LANGUAGE plpgsql AS $$
         DECLARE r jsonb;
         BEGIN CALL wf_step('s', 'SELECT 1', '{}', r); n := n + extract(year FROM d)::int; END $$;
         CREATE PROCEDURE in_sql(input jsonb, INOUT result jsonb) LANGUAGE sql AS $$
             SELECT wf_step('one', 'effect', '{\"what\": \"sql 1\"}');
             SELECT wf_sleep('1 ms');
             SELECT wf_step('two', 'effect', '{\"what\": \"sql 2\"}');
         $$;
         CREATE PROCEDURE \"Odd Name\"(\"In Put\" jsonb, INOUT \"Re Sult\" jsonb) LANGUAGE plpgsql AS $$
         BEGIN CALL wf_step('s', 'SELECT $1', \"In Put\", \"Re Sult\"); END $$;
         CREATE PROCEDURE gives_null(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
         DECLARE r jsonb := '1';
         BEGIN
             CALL wf_step('void', 'SELECT pg_sleep(0)', '{}', r);
             CALL wf_step('create', 'CREATE TABLE made ()', '{}', r);
             IF r IS NOT NULL THEN RAISE 'not null: %', r; END IF;
         END $$",
    );
    if db.one::<bool>("SELECT current_setting('server_version_num')::int >= 140000") {
        db.run(
            "CREATE PROCEDURE outs(a int, OUT x int, OUT y jsonb) LANGUAGE plpgsql AS $$
             DECLARE r jsonb;
             BEGIN FOR i IN 1..a LOOP CALL wf_step('s', 'SELECT 5', '{}', r); END LOOP; x := a; y := r; END $$",
        );
    }
    let mut run = |workflow: &str, input: Value| -> Value {
        let id: String = db.one(&format!("SELECT wf_start('{workflow}', '{input}')"));
        db.result(&id)
    };
    assert_eq!(run("named", json!({"a": 1})), json!([1, "d", "d80"]));
    assert_eq!(run("named", json!({"a": 2, "b": "x"})), json!([2, "x", "x80"]));
    assert_eq!(run("no_out", json!({"a": 80})), Value::Null);
    assert_eq!(run("nothing", json!({})), Value::Null);
    assert_eq!(run("several", json!({"k": 1})), json!({"a": 5, "b": "x", "c": null}));
    assert_eq!(run("adds", json!({"n": 4, "d": "2026-01-02"})), json!(2030));
    assert_eq!(run("in_sql", json!({})), json!("sql 2"));
    assert_eq!(run("\"Odd Name\"", json!([1])), json!([[1]]));
    assert_eq!(run("gives_null", json!({})), Value::Null);
    assert_eq!(run("outs", json!({"a": 80})), json!({"x": 80, "y": [5]}));
    db.run("SELECT wf_define('by_name', 'named', '{\"timeout\": \"1 hour\"}')");
    let id: String = db.one("SELECT wf_start('by_name', '{\"a\": 3}')");
    assert_eq!(db.result(&id), json!([3, "d", "d80"]));
    for (start, sqlstate) in [
        ("wf_start('named')", "22023"),
        ("wf_start('named', '{\"a\": 1, \"z\": 1}')", "22023"),
        ("wf_start('named', '{\"a\": \"x\"}')", "22P02"),
    ] {
        assert_eq!(db.fails(&format!("SELECT {start}")).sqlstate, sqlstate, "{start}");
    }
    // Run again under the same id: a history of its own.
    db.run("TRUNCATE effects");
    chain(&mut db);
    start(&mut db, "chain", "again", &json!({"n": 100}));
    chain_is_whole(&mut db, "again", 100);
    db.run("TRUNCATE effects; SELECT wf_start('chain', '{\"n\": 200}', id => 'again', on_conflict => 'start_new')");
    chain_is_whole(&mut db, "again", 200);
}

#[test]
fn a_loop_over_a_query_goes_on_across_commits() {
    let (_cluster, mut db) = effects(&[]);
    db.run("CREATE TABLE items (k int, t text); INSERT INTO items SELECT i, repeat('x', 100) FROM generate_series(1, 300) i");
    // Steps change what the loop reads: it sees what was there when it began, as without commits.
    procedure(
        &mut db,
        "loops",
        "item record; other record; n int := 0;",
        &format!(
            "FOR item IN SELECT k, t FROM items WHERE input ? 'k' ORDER BY k LOOP
                 FOR other IN EXECUTE 'SELECT k FROM items WHERE k IN ($1, $1 + 1) ORDER BY k LIMIT 1' USING item.k LOOP
                     {}
                     n := n + length(item.t);
                 END LOOP;
             END LOOP;
             result := to_jsonb(n);",
            step("item", "item.k || ' ' || other.k")
        ),
    );
    start(&mut db, "loops", "l", &json!({"k": 1}));
    assert_eq!(db.result("l"), json!(30_000));
    let expected: Vec<String> = (1..=300).map(|k| format!("{k} {k}")).collect();
    assert_eq!(log(&mut db), expected);
}
