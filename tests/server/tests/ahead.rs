//! Long functions: steps whose results nobody uses (PERFORM) are run many in one go, and nothing else is different.

use std::time::Duration;

use pg_workflow_server_tests::*;

/// A workflow `name` that has made enough calls when `body` begins. It returns what its steps have done, in order.
fn flow(db: &mut Client, name: &str, declare: &str, body: &str) {
    db.run(&format!(
        "CREATE FUNCTION {name}(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $flow$
         DECLARE x jsonb; {declare}
         BEGIN
             RAISE LOG 'passage of {name}';
             FOR i IN 1..40 LOOP x := wf_step('before', 'SELECT 1'); END LOOP;
             {body}
             RETURN wf_step('seen', 'SELECT string_agg(what, '' '' ORDER BY seq) FROM effects');
         END $flow$"
    ));
}

fn start(db: &mut Client, workflow: &str) {
    db.run(&format!("SELECT wf_start('{workflow}', id => '{workflow}')"));
}

const EFFECTS: &str = "CREATE TABLE effects (seq serial, what text);
    CREATE FUNCTION act(what text) RETURNS void LANGUAGE sql AS $$ INSERT INTO effects (what) VALUES (what) $$;
    CREATE FUNCTION fail(what text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO effects (what) VALUES (what); RAISE 'no %', what USING ERRCODE = 'P0042'; END $$";

fn with_effects() -> (Cluster, Client) {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(EFFECTS);
    (cluster, db)
}

/// What has been done, in order.
fn effects(db: &mut Client) -> String {
    let effects = db.one::<String>("SELECT coalesce(string_agg(what, ' ' ORDER BY seq), '') FROM effects");
    db.run("TRUNCATE effects");
    effects
}

/// Runs a workflow in one transaction, where no time is ever over and nothing but the function ends a passage, and in an executor.
fn does(db: &mut Client, workflow: &str, expected: &str) {
    let tried: Value = db.one(&format!("SELECT wf_test('{workflow}')"));
    assert_eq!(tried["result"], json!([expected]), "{workflow}: {tried}");
    start(db, workflow);
    assert_eq!(db.result(workflow), json!([expected]), "{workflow}");
    assert_eq!(effects(db), expected, "{workflow}");
}

#[test]
fn many_steps_take_few_passages() {
    let (cluster, mut db) = with_effects();
    flow(
        &mut db,
        "many",
        "",
        "FOR i IN 1..300 LOOP PERFORM wf_step('act', 'act', jsonb_build_object('what', i)); END LOOP;",
    );
    // In one transaction, in which no time is over: only what a passage brings counts.
    db.run("SELECT wf_test('many')");
    // 42 for the others, and 300 if each of these took one.
    let passages = cluster.logged("passage of many");
    assert!((42..240).contains(&passages), "{passages}");
    let expected: Vec<String> = (1..=300).map(|i| i.to_string()).collect();
    does(&mut db, "many", &expected.join(" "));
    assert_eq!(db.count("wf.steps WHERE id = 'many' AND attempt = 1"), 341);
}

#[test]
fn what_comes_behind_a_step_depends_on_how_it_ends() {
    let (_cluster, mut db) = with_effects();
    flow(
        &mut db,
        "caught",
        "",
        "BEGIN
             PERFORM wf_step('a', 'act', '{\"what\": \"a\"}');
             PERFORM wf_step('b', 'fail', '{\"what\": \"b\"}');
             PERFORM wf_step('c', 'act', '{\"what\": \"c\"}');
         EXCEPTION WHEN SQLSTATE 'P0042' THEN
             PERFORM wf_step('d', 'act', '{\"what\": \"d\"}');
         END;
         PERFORM wf_step('e', 'act', '{\"what\": \"e\"}');
        ",
    );
    does(&mut db, "caught", "a d e");

    // Tried again later: what comes behind it waits as long.
    db.run("CREATE SEQUENCE attempts");
    flow(
        &mut db,
        "retried",
        "",
        "PERFORM wf_step('a', 'act', '{\"what\": \"a\"}');
         PERFORM wf_step('b', $sql$ SELECT act('b' || 1 / (nextval('attempts') - 1)::int) $sql$,
                         retry => '{\"max_attempts\": 3, \"first_delay\": \"20 ms\"}');
         PERFORM wf_step('c', 'act', '{\"what\": \"c\"}');
        ",
    );
    start(&mut db, "retried");
    assert_eq!(db.result("retried"), json!(["a b1 c"]));
    effects(&mut db);

    // What the function itself comes to: an error, a wrong argument, a write.
    for (name, body, sqlstate) in [
        ("raises", "RAISE 'own' USING ERRCODE = 'P0043';", "P0043"),
        ("misuses", "PERFORM wf_step('b', '  ');", "22023"),
        ("writes", "INSERT INTO effects (what) VALUES ('written');", "25006"),
    ] {
        let body = format!("PERFORM wf_step('a', 'act', '{{\"what\": \"a\"}}'); {body}");
        flow(&mut db, name, "", &body);
        start(&mut db, name);
        assert_eq!(db.failure(name).sqlstate, sqlstate, "{name}");
        assert_eq!(effects(&mut db), "a", "{name}");
    }
}

#[test]
fn what_a_function_looks_at_is_as_its_steps_have_left_it() {
    let (_cluster, mut db) = with_effects();
    db.run(
        "CREATE VIEW seen AS SELECT what FROM effects;
         CREATE FUNCTION is_done(w text) RETURNS boolean LANGUAGE sql AS $$ SELECT EXISTS (SELECT FROM effects WHERE what = w) $$;
         CREATE FUNCTION is_really_done(w text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN is_done(w); END $$",
    );
    for (name, question) in [
        ("by_table", "EXISTS (SELECT FROM effects WHERE what = 'a')"),
        ("by_view", "'a' IN (SELECT what FROM seen)"),
        ("by_function", "is_done('a')"),
        ("by_two", "is_really_done('a')"),
        ("by_execute", "found_by_execute"),
        ("by_loop", "found_by_loop"),
    ] {
        let look = match name {
            "by_execute" => "EXECUTE 'SELECT count(*) > 0 FROM effects' INTO found_by_execute;",
            "by_loop" => "FOR w IN SELECT what FROM effects LOOP found_by_loop := true; END LOOP;",
            _ => "",
        };
        flow(
            &mut db,
            name,
            "found_by_execute boolean; found_by_loop boolean := false; w text;",
            &format!(
                "PERFORM wf_step('a', 'act', '{{\"what\": \"a\"}}');
                 {look}
                 IF {question} THEN PERFORM wf_step('yes', 'act', '{{\"what\": \"yes\"}}');
                 ELSE PERFORM wf_step('no', 'act', '{{\"what\": \"no\"}}'); END IF;
                "
            ),
        );
        does(&mut db, name, "a yes");
    }
}

#[test]
fn results_that_are_used_are_there() {
    let (_cluster, mut db) = with_effects();
    db.run("CREATE FUNCTION give(n jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT n $$");
    let act = "'INSERT INTO effects (what) VALUES ($1 #>> ''{}'')'";
    db.run(&format!(
        "CREATE FUNCTION inner_sql() RETURNS jsonb LANGUAGE sql AS $$ SELECT wf_step('h', 'give', '7') $$;
         CREATE FUNCTION inner_plpgsql() RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN PERFORM wf_step('h', 'give', '8'); RETURN wf_step('i', 'give', '9'); END $$;
         CREATE FUNCTION outer_sql() RETURNS jsonb LANGUAGE sql AS $f$ SELECT wf_step('use', {act}, wf_step('h', 'give', '5')) $f$"
    ));
    flow(
        &mut db,
        "used",
        "y jsonb;",
        &format!(
            "PERFORM wf_step('first', {act}, '1');
             PERFORM wf_step('outer', {act}, wf_step('inner', 'give', '2'));
             SELECT wf_step('into', 'give', '3') INTO y;
             PERFORM wf_step('outer', {act}, y);
             PERFORM wf_step('outer', {act}, CASE WHEN wf_step('case', 'give', '4') = '4' THEN '4' ELSE '0' END::jsonb);
             PERFORM outer_sql();
             PERFORM wf_step('outer', {act}, to_jsonb((wf_step('inner', 'give', '5')::int + 1)));
             PERFORM wf_step('outer', {act}, inner_sql());
             PERFORM inner_plpgsql();
             PERFORM wf_step('outer', {act}, inner_plpgsql());
             PERFORM set_config('my.found', wf_step('inner', 'give', '9.5') #>> '{{}}', true);
             PERFORM wf_step('outer', {act}, to_jsonb(current_setting('my.found')));
             PERFORM wf_step('each', {act}, to_jsonb(g)) FROM generate_series(10, 12) AS g;
             IF NOT FOUND THEN RAISE 'not found'; END IF;
             PERFORM wf_step('never', {act}, '0') WHERE false;
             IF FOUND THEN RAISE 'found'; END IF;
             PERFORM wf_step('last', {act}, '13') WHERE true;
             IF NOT FOUND THEN RAISE 'not found'; END IF;
"
        ),
    );
    does(&mut db, "used", "1 2 3 4 5 6 7 9 9.5 10 11 12 13");
}

#[test]
fn other_calls_come_in_their_turn() {
    let (_cluster, mut db) = with_effects();
    db.run("SELECT wf_queue('narrow', max_running => 1)");
    let act = |what: &str| format!("PERFORM wf_step('act', 'act', '{{\"what\": \"{what}\"}}');");
    let body = [
        act("a"),
        "PERFORM wf_set('at', '\"a\"'); seen := wf_now();".to_owned(),
        act("b"),
        "PERFORM wf_sleep('50 ms');".to_owned(),
        act("c"),
        "PERFORM wf_step('apart', 'act', '{\"what\": \"d\"}', transactional => false);".to_owned(),
        act("e"),
        "PERFORM wf_step('queued', 'act', '{\"what\": \"f\"}', queue => 'narrow');".to_owned(),
        act("g"),
        "handle := wf_begin('begun', 'act', '{\"what\": \"h\"}'); PERFORM wf_await(handle);".to_owned(),
        act("i"),
        "PERFORM wf_wait_signal('go');".to_owned(),
        act("j"),
        "IF wf_now() <= seen THEN RAISE 'no time has passed'; END IF;".to_owned(),
    ]
    .join("\n");
    flow(&mut db, "mixed", "seen timestamptz; handle int;", &body);
    start(&mut db, "mixed");
    db.run("SELECT wf_signal('mixed', 'go')");
    assert_eq!(db.result("mixed"), json!(["a b c d e f g h i j"]));
}

#[test]
fn a_cancel_reaches_the_next_step() {
    let (cluster, mut db) = with_effects();
    db.run("CREATE TABLE gate (); CREATE TABLE passed (i int)");
    flow(
        &mut db,
        "stopped",
        "",
        "FOR i IN 1..20 LOOP
             PERFORM wf_step('gate', 'SELECT count(*) FROM gate');
             PERFORM wf_step('act', 'act', jsonb_build_object('what', i));
         END LOOP;
        ",
    );
    let mut holder = cluster.admin();
    holder.run("BEGIN; LOCK TABLE gate");
    start(&mut db, "stopped");
    eventually(Duration::from_secs(60), "the step waits for the lock", || {
        db.one::<bool>("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'gate'::regclass)")
    });
    db.run("SELECT wf_cancel('stopped')");
    holder.run("COMMIT");
    assert_eq!(db.failure("stopped").sqlstate, "WF002");
    assert_eq!(effects(&mut db), "");
}

#[test]
fn a_killed_server_loses_and_doubles_nothing() {
    let (cluster, mut db) = with_effects();
    flow(
        &mut db,
        "many",
        "",
        "FOR i IN 1..400 LOOP PERFORM wf_step('act', 'act', jsonb_build_object('what', i || (input->>'n'))); END LOOP;",
    );
    db.run("SELECT wf_start('many', jsonb_build_object('n', n), id => 'many-' || n) FROM generate_series(1, 4) AS n");
    for round in 1..=4 {
        eventually(Duration::from_secs(120), "some more steps are done", || {
            db.one::<i64>("SELECT count(*) FROM effects") >= round * 100
        });
        cluster.kill9();
        cluster.start();
        db = cluster.admin();
    }
    for n in 1..=4 {
        db.result(&format!("many-{n}"));
    }
    assert_eq!(db.one::<i64>("SELECT count(*) FROM effects"), 1600);
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT what) FROM effects"), 1600);
}
