//! Promises 4, 5 and 9: code is pinned, a workflow function cannot do harm by accident, bad input is refused at the door.

use std::time::Duration;

use pg_workflow_server_tests::*;

fn flow(db: &mut Client, name: &str, body: &str) {
    db.run(&format!(
        "CREATE OR REPLACE FUNCTION {name}(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $flow$ {body} $flow$"
    ));
}

fn start(db: &mut Client, workflow: &str) {
    db.run(&format!("SELECT wf_start('{workflow}', id => '{workflow}')"));
}

#[test]
fn a_write_outside_a_step_is_refused_with_a_hint() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run("CREATE TABLE t (i int); CREATE SEQUENCE s; INSERT INTO t VALUES (0)");
    let hint = "A workflow writes in its steps only: wrap the statement in wf_step(...).";
    for (name, statement) in [
        ("inserts", "INSERT INTO t VALUES (1)"),
        ("updates", "UPDATE t SET i = 2"),
        ("truncates", "TRUNCATE t"),
        ("creates", "CREATE TABLE u (i int)"),
        ("counts", "PERFORM nextval('s')"),
        ("starts", "PERFORM 1 FROM t FOR UPDATE"),
        ("runs", "EXECUTE 'DELETE FROM t'"),
    ] {
        flow(
            &mut db,
            name,
            &format!("BEGIN PERFORM wf_step('ok', 'SELECT 1'); {statement}; RETURN '1'; END"),
        );
        start(&mut db, name);
        let failure = db.failure(name);
        assert_eq!(
            (failure.sqlstate.as_str(), failure.hint.as_str()),
            ("25006", hint),
            "{name}: {failure:?}"
        );
        let (error, sqlstate) = (
            db.one::<String>(&format!("SELECT error FROM wf.workflows WHERE id = '{name}'")),
            db.one::<String>(&format!("SELECT sqlstate FROM wf.workflows WHERE id = '{name}'")),
        );
        assert!(error.contains("read-only transaction"), "{error}");
        assert_eq!(sqlstate, "25006");
        assert_eq!(
            db.one::<String>(&format!("SELECT wf_get('{name}')->'error'->>'hint'")),
            hint
        );
    }
    // Not even by switching the guard off.
    for (name, statement) in [
        (
            "unguards",
            "SET LOCAL transaction_read_only = off; INSERT INTO t VALUES (1)",
        ),
        (
            "unguards2",
            "PERFORM set_config('transaction_read_only', 'off', true); INSERT INTO t VALUES (1)",
        ),
    ] {
        flow(&mut db, name, &format!("BEGIN {statement}; RETURN '1'; END"));
        start(&mut db, name);
        assert_eq!(&db.failure(name).sqlstate[..2], "25", "{name}");
    }
    // The user's handler sees it too, and the row is not there.
    flow(
        &mut db,
        "hides",
        "BEGIN BEGIN INSERT INTO t VALUES (1); EXCEPTION WHEN OTHERS THEN RETURN to_jsonb(SQLSTATE); END; RETURN '1'; END",
    );
    start(&mut db, "hides");
    assert_eq!(db.result("hides"), json!("25006"));
    assert_eq!(db.all::<i32>("SELECT i FROM t"), [0]);
}

#[test]
fn a_replay_on_another_path_is_named() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run("CREATE TABLE switch (on_left bool); INSERT INTO switch VALUES (true)");
    flow(
        &mut db,
        "forks",
        "BEGIN
             IF (SELECT on_left FROM switch) THEN PERFORM wf_step('left', 'SELECT 1'); ELSE PERFORM wf_step('right', 'SELECT 2'); END IF;
             PERFORM wf_wait_signal('go');
             RETURN '1';
         END",
    );
    flow(
        &mut db,
        "stops",
        "BEGIN
             IF (SELECT on_left FROM switch) THEN PERFORM wf_step('left', 'SELECT 1'); PERFORM wf_wait_signal('go'); END IF;
             RETURN '1';
         END",
    );
    for workflow in ["forks", "stops"] {
        start(&mut db, workflow);
        db.waits_for(workflow, "signal");
    }
    db.run("UPDATE switch SET on_left = false");
    for (workflow, found) in [("forks", "step \"right\""), ("stops", "the end of the workflow")] {
        db.run(&format!("SELECT wf_signal('{workflow}', 'go')"));
        let failure = db.failure(workflow);
        assert_eq!(failure.sqlstate, "WF001");
        assert_eq!(failure.detail, format!("Expected step \"left\", found {found}."));
        assert!(failure.hint.contains("wf_now()"), "{failure:?}");
    }
    assert_eq!(db.count("wf.steps WHERE name = 'right'"), 0);
}

#[test]
fn functions_for_the_inside_know_where_they_are() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    for call in [
        "wf_step('s', 'SELECT 1')",
        "wf_sleep('1 s')",
        "wf_sleep_until(now())",
        "wf_wait_signal('go')",
        "wf_set('a', '1')",
        "wf_now()",
        "wf_random()",
        "wf_uuid()",
    ] {
        let failure = db.fails(&format!("SELECT {call}"));
        assert_eq!(failure.sqlstate, "55000", "{call}: {failure:?}");
        assert!(
            failure.message.ends_with("was called outside of a workflow") && !failure.hint.is_empty(),
            "{failure:?}"
        );
        let name = format!("inside_{}", call.split('(').next().unwrap());
        flow(
            &mut db,
            &name,
            &format!("BEGIN RETURN wf_step('outer', $$ SELECT {call} $$); END"),
        );
        start(&mut db, &name);
        let failure = db.failure(&name);
        assert_eq!(failure.sqlstate, "55000", "{call}: {failure:?}");
        assert!(
            failure.message.ends_with("was called inside a step") && !failure.hint.is_empty(),
            "{failure:?}"
        );
    }
    // A client's function in the workflow function itself would act in a transaction that is undone.
    flow(&mut db, "starts", "BEGIN PERFORM wf_start('starts'); RETURN '1'; END");
    start(&mut db, "starts");
    let failure = db.failure("starts");
    assert_eq!(
        (failure.sqlstate.as_str(), failure.message.as_str()),
        ("55000", "wf_start cannot be called inside a workflow")
    );
    // In a step it is an effect like others.
    flow(&mut db, "child", "BEGIN RETURN '\"child\"'; END");
    flow(
        &mut db,
        "parent",
        "BEGIN RETURN wf_step('start', $$ SELECT wf_start('child', id => 'child-1') $$); END",
    );
    start(&mut db, "parent");
    assert_eq!(db.result("parent"), json!(["child-1"]));
    assert_eq!(db.result("child-1"), json!("child"));
}

#[test]
fn instances_finish_on_the_code_that_they_started_with() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    let body = |version: &str| {
        format!(
            "BEGIN PERFORM wf_step('{version}', 'SELECT 1'); PERFORM wf_wait_signal('go'); RETURN wf_step('{version} end', 'SELECT ''{version}''')->0; END"
        )
    };
    for (n, version) in ["old", "new", "newest"].into_iter().enumerate() {
        flow(&mut db, "w", &body(version));
        db.run(&format!("SELECT wf_start('w', id => '{version}')"));
        db.waits_for(version, "signal");
        assert_eq!(
            db.one::<i32>(&format!("SELECT version FROM wf.workflows WHERE id = '{version}'")),
            n as i32 + 1
        );
    }
    db.run("SELECT wf_signal('old', 'go'); SELECT wf_signal('newest', 'go')");
    assert_eq!(db.result("old"), json!("old"));
    assert_eq!(db.result("newest"), json!("newest"));
    // Dropped, and with other arguments than before.
    db.run("SELECT wf_start('w', id => 'last'); DROP FUNCTION w(jsonb)");
    db.run("SELECT wf_signal('new', 'go'); SELECT wf_signal('last', 'go')");
    assert_eq!(db.result("new"), json!("new"));
    assert_eq!(db.result("last"), json!("newest"));
    assert_eq!(db.fails("SELECT wf_start('w')").sqlstate, "42883");
    // After a restart, with nothing in any process' memory.
    flow(&mut db, "w", &body("again"));
    db.run("SELECT wf_start('w', id => 'over')");
    db.waits_for("over", "signal");
    flow(&mut db, "w", &body("different"));
    drop(db);
    cluster.restart();
    let mut db = cluster.admin();
    db.run("SELECT wf_signal('over', 'go')");
    assert_eq!(db.result("over"), json!("again"));
}

#[test]
fn code_is_replaced_while_many_are_running() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    let body = |version: usize| {
        format!(
            "BEGIN
                 FOR i IN 1..3 LOOP PERFORM wf_step('v{version}', 'SELECT pg_sleep(0.001)'); PERFORM wf_sleep('10 ms'); END LOOP;
                 RETURN '{version}';
             END"
        )
    };
    for version in 0..10 {
        flow(&mut db, "w", &body(version));
        db.run(&format!(
            "SELECT wf_start('w', id => '{version}-' || i) FROM generate_series(1, 20) i"
        ));
    }
    eventually(SOON, "all end", || {
        db.count("wf.workflows WHERE finished_at IS NULL") == 0
    });
    let errors: Vec<Value> = db.all("SELECT DISTINCT error FROM wf_internal.runs WHERE error IS NOT NULL LIMIT 5");
    assert!(errors.is_empty(), "{errors:#?}");
    assert_eq!(
        db.count("wf.workflows WHERE status = 'completed' AND result::text = split_part(id, '-', 1)"),
        200
    );
    assert_eq!(db.count("wf.steps WHERE kind = 'step'"), 600);
    assert_eq!(
        db.count("wf.steps WHERE kind = 'step' AND name <> 'v' || split_part(id, '-', 1)"),
        0
    );
}

#[test]
fn bad_input_is_refused_and_leaves_no_row() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    flow(&mut db, "w", "BEGIN RETURN '1'; END");
    db.run(
        "CREATE FUNCTION typed(a int, b text DEFAULT '') RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(a)';
         CREATE FUNCTION twice(a int) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
         CREATE FUNCTION twice(a text) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
         CREATE FUNCTION any_type(a anyelement) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb'",
    );
    // Statement, SQLSTATE, and what DETAIL and HINT must say something of ('' where there is none).
    for (call, sqlstate, detail, hint) in [
        ("wf_start('nothing_there')", "42883", "", "wf_define"),
        ("wf_start(NULL)", "22004", "", ""),
        ("wf_start('')", "22023", "", ""),
        ("wf_start('w', NULL)", "22004", "", ""),
        ("wf_start('w', id => '')", "22023", "", ""),
        ("wf_start('w', id => repeat('x', 1025))", "54000", "1025", ""),
        ("wf_start('w', priority => 1001)", "22023", "", ""),
        ("wf_start('w', delay => '-1 s')", "22023", "", ""),
        ("wf_start('w', timeout => '0')", "22023", "", ""),
        ("wf_start('w', timeout => '-1 s')", "22023", "", ""),
        ("wf_start('w', start_at => now(), delay => '1 s')", "22023", "", ""),
        ("wf_start('w', on_conflict => 'whatever')", "22023", "", ""),
        ("wf_start('typed', '{}')", "22023", "\"a\"", "\"b\""),
        ("wf_start('typed', '[]')", "22023", "not a JSON object", "\"a\""),
        ("wf_start('typed', '{\"a\": 1, \"c\": 1}')", "22023", "\"c\"", "\"a\""),
        ("wf_start('twice', '{\"a\": 1}')", "42725", "twice(integer)", "names"),
        ("wf_start('any_type', '{\"a\": 1}')", "0A000", "", "concrete"),
        ("wf_start('count')", "42809", "", "function"),
        ("wf_signal('w', 'go')", "42704", "", ""),
        ("wf_signal(NULL, 'go')", "22004", "", ""),
        ("wf_signal('w', '')", "22023", "", ""),
        ("wf_define('n', 'w', '{\"retries\": 1}')", "22023", "", "retry"),
        (
            "wf_define('n', 'w', '{\"retry\": {\"max_attempts\": \"five\"}}')",
            "22023",
            "",
            "",
        ),
        (
            "wf_define('n', 'w', '{\"retry\": {\"first_delay\": \"soon\"}}')",
            "22023",
            "",
            "",
        ),
        (
            "wf_define('n', 'w', '{\"retry\": {\"backoff\": 0.5}}')",
            "22023",
            "",
            "",
        ),
        ("wf_define('n', 'nothing_there')", "42883", "", ""),
        ("wf_define('', 'w')", "22023", "", ""),
        ("wf_result('nothing_there')", "42704", "", ""),
        ("wf_get('nothing_there')", "42704", "", ""),
    ] {
        let failure = db.fails(&format!("SELECT {call}"));
        assert_eq!(failure.sqlstate, sqlstate, "{call}: {failure:?}");
        assert!(failure.detail.contains(detail), "{call}: {failure:?}");
        assert!(failure.hint.contains(hint), "{call}: {failure:?}");
        assert!(
            failure.message.chars().next().unwrap().is_lowercase() || failure.message.starts_with('"'),
            "{failure:?}"
        );
        assert!(!failure.message.ends_with('.'), "{failure:?}");
    }
    for table in [
        "runs",
        "ready",
        "timers",
        "signals",
        "controls",
        "steps",
        "workflows",
        "definitions",
    ] {
        assert_eq!(db.count(&format!("wf_internal.{table}")), 0, "{table}");
    }
    // Wrong only when the step runs: the step fails, named.
    for (name, call, sqlstate) in [
        (
            "policy",
            "wf_step('s', 'SELECT 1', retry => '{\"max_attempt\": 1}')",
            "22023",
        ),
        (
            "pattern",
            "wf_step('s', 'SELECT 1', retry => '{\"retry_on\": [\"nonsense\"]}')",
            "22023",
        ),
        ("no_name", "wf_step('', 'SELECT 1')", "22023"),
        ("null_name", "wf_step(NULL, 'SELECT 1')", "22004"),
        ("no_time", "wf_step('s', 'SELECT 1', timeout => '0')", "22023"),
        ("unknown", "wf_step('s', 'nothing_there')", "42883"),
        ("misfit", "wf_step('s', 'typed', '{\"z\": 1}')", "22023"),
        ("no_cast", "wf_step('s', 'typed', '{\"a\": \"x\"}')", "22P02"),
    ] {
        flow(&mut db, name, &format!("BEGIN RETURN {call}; END"));
        start(&mut db, name);
        let failure = db.failure(name);
        assert_eq!(failure.sqlstate, sqlstate, "{name}: {failure:?}");
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_takes_effect() {
    let cluster = Cluster::with(&["pg_workflow.max_payload = '10kB'"]);
    let mut db = cluster.admin();
    db.run("CREATE TABLE t (i int)");
    flow(
        &mut db,
        "w",
        "BEGIN RETURN wf_step('s', 'INSERT INTO t VALUES (1) RETURNING repeat(''x'', 20000)'); END",
    );
    flow(&mut db, "r", "BEGIN RETURN to_jsonb(repeat('x', 20000)); END");
    let failure = db.fails("SELECT wf_start('w', to_jsonb(repeat('x', 20000)))");
    assert_eq!(failure.sqlstate, "54000");
    assert!(
        failure.hint.contains("pg_workflow.max_payload") && failure.detail.contains("10240"),
        "{failure:?}"
    );
    for workflow in ["w", "r"] {
        start(&mut db, workflow);
        assert_eq!(db.failure(workflow).sqlstate, "54000");
    }
    assert_eq!(db.count("t"), 0);
}

#[test]
fn values_are_recorded_not_made_again() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    flow(
        &mut db,
        "w",
        "DECLARE a timestamptz := wf_now(); b float8 := wf_random(); c uuid := wf_uuid();
         BEGIN
             PERFORM wf_set('progress', '1');
             PERFORM wf_sleep('30 ms');
             PERFORM wf_step('keep', 'SELECT 1');
             PERFORM wf_set('progress', '2');
             PERFORM wf_wait_signal('go');
             RETURN jsonb_build_array(a, b, c, wf_now() > a, wf_random() <> b, wf_uuid() <> c);
         END",
    );
    start(&mut db, "w");
    db.waits_for("w", "signal");
    assert_eq!(db.one::<Value>("SELECT wf_get('w', 'progress')"), json!(2));
    assert_eq!(db.one::<Option<Value>>("SELECT wf_get('w', 'other')"), None);
    let values: Vec<Value> = db.all("SELECT result FROM wf.steps WHERE id = 'w' AND kind = 'value' ORDER BY n");
    db.run("SELECT wf_signal('w', 'go')");
    let result = db.result("w");
    assert_eq!(values.len(), 3);
    assert_eq!((&result[1], &result[2]), (&values[1], &values[2]));
    assert_eq!(result.as_array().unwrap()[3..], [json!(true), json!(true), json!(true)]);
    eventually(Duration::from_secs(5), "published", || {
        db.one::<Value>("SELECT values FROM wf.workflows WHERE id = 'w'") == json!({"progress": 2})
    });
}

#[test]
fn an_error_outside_of_steps_fails_its_instance_and_blocks_nobody() {
    let cluster = Cluster::with(&["pg_workflow.max_executors = 1"]);
    let mut db = cluster.admin();
    db.run("CREATE FUNCTION hello(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(1) $$");
    db.run(
        "CREATE FUNCTION forever(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN PERFORM wf_sleep('300000 years'); RETURN NULL; END $$;
         CREATE FUNCTION replaced(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_wait_signal('go'); END $$",
    );
    db.run("SELECT wf_start('forever', id => 'f'); SELECT wf_start('replaced', id => 'r')");
    assert_eq!(db.failure("f").sqlstate, "22008");
    // A definition that cannot be read any more: nothing that a step could be blamed for.
    db.waits_for("r", "signal");
    db.run("UPDATE wf_internal.definitions SET search_path = repeat('\"', 3) WHERE workflow = 'replaced'");
    db.run("SELECT pg_terminate_backend(pid) FROM wf.workers WHERE kind = 'executor'");
    db.run("SELECT wf_signal('r', 'go', '1')");
    let failure = db.failure("r");
    assert_eq!(failure.sqlstate, "22023", "{failure:?}");
    db.run("SELECT wf_start('hello', id => 'h')");
    assert_eq!(db.result("h"), json!(1));
}

#[test]
fn a_conflict_in_a_transaction_block_counts_as_a_failed_attempt() {
    let cluster = Cluster::bare(&[]);
    let mut db = cluster.admin();
    db.run("CREATE EXTENSION pg_workflow; SET statement_timeout = '20 s'");
    db.run(
        "CREATE FUNCTION clashes() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'clash' USING ERRCODE = '40001'; END $$;
         CREATE FUNCTION tries(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('clash', 'clashes', retry => '{\"max_attempts\": 1}'); END $$",
    );
    db.run("BEGIN; SELECT wf_start('tries', id => 't'); CALL wf_run_pending(); COMMIT");
    assert_eq!(db.failure("t").sqlstate, "40001");
}

#[test]
fn a_session_s_settings_make_no_version() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION dated(at timestamptz DEFAULT '2026-01-01 12:00 UTC') RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$",
    );
    for (i, zone) in ["Asia/Tokyo", "America/New_York"].iter().enumerate() {
        db.run(&format!(
            "SET timezone = '{zone}'; SET quote_all_identifiers = on; SELECT wf_start('dated', id => 'd-{i}')"
        ));
        assert_eq!(db.result(&format!("d-{i}")), json!("x"));
    }
    assert_eq!(
        db.one::<i64>("SELECT max(version)::int8 FROM wf.definitions WHERE workflow = 'dated'"),
        1
    );
}

#[test]
fn a_cancel_while_a_large_value_is_read_is_an_error_and_no_crash() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION w(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT NULL::jsonb $$;
         CREATE TABLE big (j jsonb); ALTER TABLE big ALTER j SET STORAGE EXTERNAL;
         INSERT INTO big SELECT jsonb_build_array(repeat('x', 100000000))",
    );
    for limit in [2, 5, 10, 20] {
        db.run(&format!("SET statement_timeout = '{limit} ms'"));
        let failure = db.fails("SELECT wf_start('w', j) FROM big");
        assert!(["57014", "54000"].contains(&failure.sqlstate.as_str()), "{failure:?}");
    }
    assert_eq!(cluster.logged("was terminated by signal"), 0);
}

#[test]
fn running_pending_work_from_a_deferred_trigger_is_refused() {
    let cluster = Cluster::with(&["pg_workflow.max_executors = 1"]);
    let mut db = cluster.admin();
    db.run(
        "CREATE TABLE t (i int);
         CREATE FUNCTION nested() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN CALL wf_run_pending(); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION nested();
         CREATE FUNCTION inserts(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('insert', 'INSERT INTO t VALUES (1)'); END $$;
         CREATE FUNCTION plain(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(1) $$",
    );
    db.run("SELECT wf_start('inserts', id => 'i')");
    assert_eq!(db.failure("i").sqlstate, "55000");
    db.run("SELECT wf_start('plain', id => 'p')");
    assert_eq!(db.result("p"), json!(1));
    assert_eq!(db.count("wf.workers WHERE kind = 'executor'"), 1);
}
