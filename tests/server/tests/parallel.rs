//! Work side by side within one instance: branches in several processes, children, what undoes them, and runs that take over
//! from one another; killed at random, cancelled, and with commits that fail.

use std::time::Duration;

use pg_workflow_server_tests::*;

const ROUNDS: usize = 8;

/// Everything at once. No unique constraint: what is done twice shall leave two rows.
const SCHEMA: &str = "
    CREATE TABLE effects (instance text, step text);
    CREATE FUNCTION effect(instance text, step text) RETURNS void LANGUAGE sql AS
        $$ INSERT INTO effects VALUES (instance, step) $$;
    CREATE SEQUENCE attempts;
    CREATE FUNCTION flaky(instance text, step text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO effects VALUES (instance, step);
        IF nextval('attempts') % 3 <> 0 THEN RAISE 'not this time'; END IF;
    END $$;

    CREATE FUNCTION child(instance text, step text) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('one', 'effect', jsonb_build_object('instance', instance, 'step', step));
        PERFORM wf_sleep('20 ms');
        PERFORM wf_step('two', 'effect', jsonb_build_object('instance', instance, 'step', step || ' again'));
        RETURN to_jsonb(step);
    END $$;

    -- 3 rounds, each a run of its own, of 30 + 5 + 2 + 2 * 4 effects.
    CREATE FUNCTION company(instance text, round int) RETURNS jsonb LANGUAGE plpgsql AS $$
    DECLARE
        handles int[];
        items jsonb := (SELECT jsonb_agg(jsonb_build_object('instance', instance, 'step', format('item %s of %s', i, round)))
                        FROM generate_series(1, 30) i);
        retry jsonb := '{\"max_attempts\": 0, \"first_delay\": \"5 ms\", \"backoff\": 1}';
    BEGIN
        FOR i IN 1..5 LOOP
            handles[i] := wf_begin('begun', 'flaky', jsonb_build_object('instance', instance, 'step', format('begun %s of %s', i, round)),
                                   retry => retry);
        END LOOP;
        PERFORM wf_map('items', 'flaky', items, max_parallel => 7, retry => retry);
        PERFORM wf_call('child', 'child', jsonb_build_object('instance', instance, 'step', format('child of %s', round)));
        PERFORM wf_map('children', workflow => 'child', items =>
                       (SELECT jsonb_agg(jsonb_build_object('instance', instance, 'step', format('child %s of %s', i, round)))
                        FROM generate_series(1, 4) i));
        PERFORM wf_await(handles);
        IF round < 3 THEN
            RETURN wf_continue_as_new(jsonb_build_object('instance', instance, 'round', round + 1));
        END IF;
        FOR i IN 1..4 LOOP
            PERFORM wf_compensate('undo', 'flaky', jsonb_build_object('instance', instance, 'step', 'undo ' || i), retry => retry);
        END LOOP;
        RAISE 'the end' USING ERRCODE = 'P0042';
    END $$";

const EFFECTS: i64 = 3 * (30 + 5 + 2 + 2 * 4) + 4;

#[test]
fn sigkill_leaves_each_branch_child_and_undo_done_once() {
    let cluster = Cluster::with(&["max_worker_processes = 24"]);
    cluster.admin().run(SCHEMA);
    let mut random = Random::new();
    for round in 0..ROUNDS {
        let mut db = cluster.admin();
        for n in 0..4 {
            let id = format!("{round}-{n}");
            db.run(&format!(
                "SELECT wf_start('company', '{{\"instance\": \"{id}\", \"round\": 1}}', id => '{id}')"
            ));
        }
        // The moment of the blow is left to chance.
        std::thread::sleep(Duration::from_micros(random.below(600_000)));
        cluster.kill9();
        cluster.start();
    }
    let mut db = cluster.admin();
    let total = (ROUNDS * 4) as i64;
    eventually(Duration::from_secs(120), "all come to their end", || {
        db.count("wf.workflows WHERE workflow = 'company' AND status = 'failed'") == total
    });
    assert_eq!(
        db.count("wf.workflows WHERE workflow = 'company' AND status = 'failed' AND sqlstate <> 'P0042'"),
        0
    );
    assert_eq!(
        db.count("wf.workflows WHERE workflow = 'company' AND status = 'continued'"),
        2 * total
    );
    let wrong: Vec<String> = db.all(
        "SELECT concat_ws(' ', instance, step, count(*)) FROM effects GROUP BY instance, step HAVING count(*) <> 1",
    );
    assert!(wrong.is_empty(), "done twice: {wrong:?}");
    assert_eq!(db.count("effects"), total * EFFECTS);
    assert_eq!(db.count("wf.branches WHERE status <> 'completed'"), 0);
    eventually(SOON, "the queue empties", || db.count("wf_internal.ready") == 0);
    assert_eq!(db.count("wf_internal.timers"), 0);
    assert_eq!(db.count("wf_internal.answers"), 0);
}

/// A step that holds lock `$1->mine` and ends once another session holds lock `$1->other`.
const MEETS: &str = "
    CREATE FUNCTION meets(mine int, other int) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_lock(4711, mine);
        FOR i IN 1..2000 LOOP
            IF EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 4711 AND objid = other
                       AND pid <> pg_backend_pid()) THEN
                -- For the other, which may just be begun once more: it is found out to be slow.
                PERFORM pg_sleep(2);
                RETURN 'met';
            END IF;
            PERFORM pg_sleep(0.01);
        END LOOP;
        RETURN 'alone';
    END $$";

#[test]
fn begun_steps_run_side_by_side() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(MEETS);
    db.run(
        "CREATE FUNCTION pair(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         DECLARE a int := wf_begin('a', 'meets', '{\"mine\": 1, \"other\": 2}');
                 b int := wf_begin('b', 'meets', '{\"mine\": 2, \"other\": 1}');
         BEGIN
             RETURN jsonb_build_array(wf_await(a), wf_await(b));
         END $$;
         SELECT wf_start('pair', id => 'pair')",
    );
    assert_eq!(db.result("pair"), json!(["met", "met"]));
}

#[test]
fn max_parallel_bounds_a_map() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    // Each item looks how many processes are at items, itself included.
    db.run(
        "CREATE FUNCTION crowd(x int) RETURNS bigint LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM pg_advisory_lock(4712, x);
             PERFORM pg_sleep(0.06);
             RETURN (SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 4712);
         END $$;
         CREATE FUNCTION crowds(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             RETURN wf_map('crowd', 'crowd', (SELECT jsonb_agg(jsonb_build_object('x', i)) FROM generate_series(1, 16) i),
                           max_parallel => (input->>'limit')::int);
         END $$;
         SELECT wf_start('crowds', '{\"limit\": 2}', id => 'two');",
    );
    let most = |value: Value| {
        value
            .as_array()
            .expect("results")
            .iter()
            .filter_map(Value::as_i64)
            .max()
    };
    assert_eq!(most(db.result("two")), Some(2));
    db.run("SELECT wf_start('crowds', id => 'all')");
    assert!(most(db.result("all")) > Some(2));
}

#[test]
fn a_cancel_interrupts_what_runs_beside_and_drops_the_rest() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE TABLE done (x int);
         CREATE FUNCTION works(x int) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM pg_sleep(30);
             INSERT INTO done VALUES (x);
         END $$;
         CREATE FUNCTION many(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_begin('beside', 'works', '{\"x\": 0}');
             RETURN wf_map('works', 'works', (SELECT jsonb_agg(jsonb_build_object('x', i)) FROM generate_series(1, 50) i));
         EXCEPTION WHEN SQLSTATE 'WF002' THEN
             PERFORM wf_step('clean up', 'INSERT INTO done VALUES (-1)');
             RAISE;
         END $$;
         SELECT wf_start('many', id => 'many')",
    );
    db.in_step("many", "works");
    db.run("SELECT wf_cancel('many')");
    assert_eq!(db.failure("many").sqlstate, "WF002");
    eventually(SOON, "nothing of it is left", || {
        db.count("wf_internal.ready") == 0 && db.count("wf.workers WHERE state = 'busy'") == 0
    });
    assert_eq!(db.all::<i32>("SELECT x FROM done"), [-1]);
    assert_eq!(db.count("wf.branches WHERE status = 'completed'"), 0);
}

#[test]
fn an_answer_that_comes_too_late_is_dropped() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION works(x int) RETURNS int LANGUAGE plpgsql AS $$
         BEGIN
             IF x = 0 THEN RAISE 'at once'; END IF;
             PERFORM pg_sleep(0.5);
             RETURN x;
         END $$;
         CREATE FUNCTION strict(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             RETURN wf_map('works', 'works', '[{\"x\": 1}, {\"x\": 2}, {\"x\": 3}, {\"x\": 0}]');
         END $$;
         SELECT wf_start('strict', id => 'strict')",
    );
    assert_eq!(db.failure("strict").sqlstate, "WF006");
    eventually(SOON, "the others end", || {
        db.count("wf.branches WHERE status = 'completed'") + db.count("wf.branches WHERE status = 'dropped'") == 3
            && db.count("wf.workers WHERE state = 'busy'") == 0
    });
    eventually(SOON, "nothing of it is left", || {
        db.count("wf_internal.answers") == 0 && db.count("wf_internal.ready") == 0
    });
}

#[test]
fn what_was_begun_goes_on_with_a_run_that_is_retried() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE TABLE effects (name text);
         CREATE FUNCTION works(name text) RETURNS text LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM pg_advisory_xact_lock_shared(1);
             INSERT INTO effects VALUES (name);
             RETURN name;
         END $$;
         CREATE FUNCTION repaired() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'not yet'; END $$;
         CREATE FUNCTION kid(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_step('works', 'works', '{\"name\": \"child\"}');
             RETURN wf_wait_signal('go');
         END $$;
         CREATE FUNCTION quick(input jsonb) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN 'quick'; END $$;
         CREATE FUNCTION hasty(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         DECLARE
             begun int[] := ARRAY[
                 wf_begin('running', 'works', '{\"name\": \"running\"}', queue => 'one'),
                 wf_begin('queued', 'works', '{\"name\": \"queued\"}', queue => 'one'),
                 wf_begin('kid', workflow => 'kid', input => '{}'),
                 wf_begin('free', workflow => 'quick', input => '{}', on_parent_end => 'abandon'),
                 wf_begin('task', queue => 'work', input => '{}'),
                 wf_begin('nap', sleep => '1 s'),
                 wf_begin('answer', signal => 'answer')];
         BEGIN
             PERFORM wf_wait_signal('fail');
             PERFORM wf_step('check', 'repaired', retry => '{\"max_attempts\": 1}');
             RETURN (SELECT jsonb_agg(e->'result') FROM jsonb_array_elements(wf_await(begun)) e);
         END $$;
         SELECT wf_queue('one', max_running => 1)",
    );
    let mut gate = cluster.admin();
    gate.run("SELECT pg_advisory_lock(1)");
    db.run("SELECT wf_start('hasty', id => 'h')");
    eventually(SOON, "all of it has begun, two of it run", || {
        db.count("pg_locks WHERE locktype = 'advisory' AND NOT granted") == 2
            && db.count("wf.workflows WHERE id = 'h/free' AND status = 'completed'") == 1
    });
    db.run("SELECT wf_signal('h', 'fail')");
    assert_eq!(db.failure("h").message, "not yet");
    // One branch ends while the run is closed, the child is told to end, the rest has come to nothing.
    gate.run("SELECT pg_advisory_unlock(1)");
    eventually(SOON, "what was running ends", || {
        db.count("effects WHERE name = 'running'") == 1
            && db.count("wf.workflows WHERE id = 'h/kid' AND status = 'cancelled'") == 1
            && db.count("wf_internal.ready") == 0
    });
    assert_eq!(db.count("wf.tasks WHERE status = 'cancelled'"), 1);
    db.run("CREATE OR REPLACE FUNCTION repaired() RETURNS void LANGUAGE sql AS ''; SELECT wf_retry('h')");
    db.run("SELECT wf_signal('h/kid', 'go', '\"went\"'), wf_signal('h', 'answer', '42')");
    let task: String = db.one("SELECT task::text FROM wf_poll('work', 'w')");
    db.run(&format!("SELECT wf_complete('{task}', '\"done\"')"));
    assert_eq!(
        db.result("h"),
        json!(["running", "queued", "went", "quick", "done", null, 42])
    );
    for name in ["running", "queued", "child"] {
        assert_eq!(db.count(&format!("effects WHERE name = '{name}'")), 1, "{name}");
    }
    eventually(SOON, "nothing of it is left", || {
        ["answers", "ready", "timers", "waits", "task_queue", "controls"]
            .iter()
            .all(|table| db.count(&format!("wf_internal.{table}")) == 0)
    });
}

#[test]
fn a_signal_on_its_way_reaches_the_run_that_goes_on() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION rounds(n int) RETURNS jsonb LANGUAGE plpgsql AS $$
         DECLARE said jsonb := wf_wait_signal('say');
         BEGIN
             IF said = '\"stop\"' THEN RETURN to_jsonb(n); END IF;
             RETURN wf_continue_as_new(jsonb_build_object('n', n + 1));
         END $$;
         SELECT wf_start('rounds', '{\"n\": 1}', id => 'r');",
    );
    db.waits_for("r", "signal \"say\"");
    // Sent to the first run, in a transaction that stays open until the second one is there.
    let mut other = cluster.admin();
    other.run("BEGIN; SELECT wf_signal('r', 'say', '\"stop\"')");
    db.run("SELECT wf_signal('r', 'say', '\"go on\"')");
    eventually(SOON, "the second run waits", || {
        db.count("wf.workflows WHERE id = 'r' AND run = 2 AND status = 'waiting'") == 1
    });
    other.run("COMMIT");
    assert_eq!(db.result("r"), json!(2));

    // So does a cancel.
    db.run("SELECT wf_start('rounds', '{\"n\": 1}', id => 's')");
    db.waits_for("s", "signal \"say\"");
    other.run("BEGIN; SELECT wf_cancel('s')");
    db.run("SELECT wf_signal('s', 'say', '\"go on\"')");
    eventually(SOON, "the second run waits", || {
        db.count("wf.workflows WHERE id = 's' AND run = 2 AND status = 'waiting'") == 1
    });
    other.run("COMMIT");
    assert_eq!(db.failure("s").sqlstate, "WF002");
}

#[test]
fn a_client_waits_through_all_runs() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION rounds(n int) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_sleep('50 ms');
             IF n = 5 THEN RETURN to_jsonb(n); END IF;
             RETURN wf_continue_as_new(jsonb_build_object('n', n + 1));
         END $$;
         SELECT wf_start('rounds', '{\"n\": 1}', id => 'r');",
    );
    assert_eq!(db.result("r"), json!(5));
}

#[test]
fn a_branch_whose_commit_fails_is_a_failure_of_its_own() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE TABLE places (x int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
         CREATE FUNCTION takes(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             RETURN wf_map('take', 'INSERT INTO places VALUES (($1 #>> ''{}'')::int)', '[1, 2, 2, 3, 4]', tolerate => 1);
         END $$;
         SELECT wf_start('takes', id => 't')",
    );
    let result = db.result("t");
    let outcomes: Vec<bool> = result
        .as_array()
        .expect("outcomes")
        .iter()
        .filter_map(|o| o["ok"].as_bool())
        .collect();
    assert_eq!(outcomes.iter().filter(|ok| **ok).count(), 4, "{result}");
    assert!(outcomes[0] && outcomes[3] && outcomes[4], "{result}");
    assert_eq!(db.count("places"), 4);
}

#[test]
fn branches_work_without_workers() {
    let cluster = Cluster::with(&["shared_preload_libraries = ''"]);
    let mut db = cluster.admin();
    db.run(SCHEMA);
    db.run("SELECT wf_start('company', '{\"instance\": \"x\", \"round\": 1}', id => 'x')");
    eventually(SOON, "it comes to its end", || {
        db.run("CALL wf_run_pending()");
        db.status("x") == "failed"
    });
    assert_eq!(db.count("effects"), EFFECTS);
    // In one transaction, which is rolled back.
    db.run(
        "CREATE FUNCTION triple(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_map('each', 'SELECT 3 * ($1 #>> ''{}'')::int', '[1, 2, 3]'); END $$;
         BEGIN; SELECT wf_start('triple', id => 't'); CALL wf_run_pending();",
    );
    assert_eq!(db.one::<Value>("SELECT wf_result('t')"), json!([[3], [6], [9]]));
    db.run("ROLLBACK");
    assert_eq!(db.count("wf.workflows WHERE id = 't'"), 0);
}

#[test]
fn a_procedure_may_do_all_of_it() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(SCHEMA);
    db.run(
        "CREATE PROCEDURE mixed(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
         DECLARE h int; one jsonb;
         BEGIN
             FOR i IN 1..40 LOOP
                 CALL wf_step('before', 'effect', jsonb_build_object('instance', 'p', 'step', 'before ' || i), one);
             END LOOP;
             h := wf_begin('beside', 'effect', '{\"instance\": \"p\", \"step\": \"beside\"}');
             CALL wf_step('between', 'effect', '{\"instance\": \"p\", \"step\": \"between\"}', one);
             PERFORM wf_compensate('undo', 'effect', '{\"instance\": \"p\", \"step\": \"undo\"}');
             PERFORM wf_await(h);
             result := wf_call('child', 'child', '{\"instance\": \"p\", \"step\": \"child\"}');
             CALL wf_step('after', 'effect', '{\"instance\": \"p\", \"step\": \"after\"}', one);
             IF input ? 'fail' THEN RAISE 'at last'; END IF;
         END $$;
         SELECT wf_start('mixed', id => 'p')",
    );
    assert_eq!(db.result("p"), json!("child"));
    let count = "effects WHERE instance = 'p'";
    assert_eq!(db.count(count), 45);
    db.run("SELECT wf_start('mixed', '{\"fail\": 1}', id => 'q')");
    assert_eq!(db.failure("q").message, "at last");
    assert_eq!(db.count(count), 91);
}
