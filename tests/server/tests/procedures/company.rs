//! Long chains among other work, and in the memory of their process.

use super::*;

#[test]
fn a_long_chain_starves_nobody() {
    let (cluster, mut db) = effects(&["pg_workflow.max_executors = 1"]);
    chain(&mut db);
    db.run(
        "CREATE FUNCTION short(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('s', 'SELECT 7')->0; END $$;
         CREATE PROCEDURE short_p(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$ BEGIN CALL wf_step('s', 'SELECT 7', '{}', result); result := result->0; END $$",
    );
    let n = 20_000;
    start(&mut db, "chain", "c", &json!({"n": n}));
    effects_reach(&mut db, 100);
    let mut done = Vec::new();
    for i in 0..4 {
        let id = format!("s-{i}");
        start(&mut db, ["short", "short_p"][i % 2], &id, &json!({}));
        assert_eq!(db.result(&id), json!(7));
        done.push(db.count("effects"));
    }
    assert_eq!(db.count("wf.workers WHERE kind = 'executor'"), 1);
    assert!(done[3] < n, "the chain had done {done:?} steps when short ones ended");
    chain_is_whole(&mut db, "c", n);
    // It made room now and then, not after every few steps.
    assert!(calls(&cluster, "chain") <= 100, "{} calls", calls(&cluster, "chain"));
    queues_are_empty(&mut db);
}

#[test]
fn many_chains_share_the_executors() {
    let (cluster, mut db) = effects(&["pg_workflow.max_executors = 3"]);
    db.run("CREATE FUNCTION short(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('s', 'SELECT 7')->0; END $$");
    procedure(
        &mut db,
        "links",
        "",
        &format!(
            "FOR i IN 1..1500 LOOP {} END LOOP; result := '1';",
            step("link", "(input->>'c') || ' ' || i")
        ),
    );
    db.run("SELECT wf_start('links', jsonb_build_object('c', c), id => 'c-' || c) FROM generate_series(1, 12) c");
    let mut overtook = 0;
    for i in 0..30 {
        let id = format!("s-{i}");
        start(&mut db, "short", &id, &json!({}));
        assert_eq!(db.result(&id), json!(7));
        overtook += i32::from(db.count("wf.workflows WHERE workflow = 'links' AND status <> 'completed'") > 0);
    }
    for c in 1..=12 {
        assert_eq!(db.result(&format!("c-{c}")), json!(1));
    }
    assert!(overtook > 0, "no short one ended before the chains");
    assert_eq!(db.count("effects"), 12 * 1500);
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT what) FROM effects"), 12 * 1500);
    assert!(calls(&cluster, "links") <= 600, "{} calls", calls(&cluster, "links"));
    queues_are_empty(&mut db);
}

#[test]
fn sessions_and_executors_work_side_by_side() {
    let (cluster, mut db) = effects(&["pg_workflow.max_executors = 2"]);
    procedure(
        &mut db,
        "links",
        "",
        &format!(
            "FOR i IN 1..100 LOOP {} END LOOP; PERFORM wf_sleep('20 ms'); FOR i IN 101..200 LOOP {} END LOOP; result := '1';",
            step("link", "(input->>'c') || ' ' || i"),
            step("link", "(input->>'c') || ' ' || i")
        ),
    );
    db.run("SELECT wf_start('links', jsonb_build_object('c', c), id => 'c-' || c) FROM generate_series(1, 20) c");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut session = cluster.admin();
                while session.count("wf.workflows WHERE finished_at IS NULL") > 0 {
                    session.run("CALL wf_run_pending()");
                    session.run("BEGIN; CALL wf_run_pending(); COMMIT");
                }
            });
        }
        // Nor does it matter where the engine's rows lie.
        scope.spawn(|| {
            let mut session = cluster.admin();
            while session.count("wf.workflows WHERE finished_at IS NULL") > 0 {
                for table in ["ready", "runs", "steps", "timers"] {
                    session.run(&format!("VACUUM FULL wf_internal.{table}"));
                }
            }
        });
    });
    assert_eq!(db.count("wf.workflows WHERE status = 'completed'"), 20);
    assert_eq!(db.count("effects"), 20 * 200);
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT what) FROM effects"), 20 * 200);
    queues_are_empty(&mut db);
}

#[test]
fn workers_show_what_they_do_and_no_more() {
    let (_cluster, mut db) = effects(&["pg_workflow.max_executors = 3"]);
    // Runs that are interrupted and taken over by another executor, again and again.
    procedure(
        &mut db,
        "wanders",
        "",
        &format!(
            "FOR i IN 1..20 LOOP FOR j IN 1..20 LOOP {} END LOOP; PERFORM wf_sleep('1 ms'); END LOOP; result := '1';",
            step("link", "i::text")
        ),
    );
    db.run("SELECT wf_start('wanders', id => 'w-' || i) FROM generate_series(1, 10) i");
    let mut twice = 0;
    eventually(SOON, "all end", || {
        let (rows, ids): (i64, i64) = (
            db.count("wf.workflows"),
            db.one("SELECT count(DISTINCT id) FROM wf.workflows"),
        );
        assert_eq!(ids, 10);
        twice += i32::from(rows != ids);
        db.count("wf.workflows WHERE finished_at IS NULL") == 0
    });
    assert_eq!(twice, 0, "an instance is seen as often as workers name it");
    eventually(
        Duration::from_secs(3),
        "no worker is busy when nothing is to be done",
        || db.count("wf.workers WHERE state = 'busy' OR id IS NOT NULL") == 0,
    );
}

#[test]
fn a_run_that_is_held_keeps_nobody_busy() {
    let (_cluster, mut db) = effects(&["autovacuum = off"]);
    db.run(
        "CREATE FUNCTION naps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('nap', 'SELECT pg_sleep(2)'); END $$",
    );
    procedure(
        &mut db,
        "naps_p",
        "",
        &format!(
            "FOR i IN 1..100 LOOP {} END LOOP; CALL wf_step('nap', 'SELECT pg_sleep(2)', '{{}}', r);",
            step("link", "i::text")
        ),
    );
    // A function whose run has got a signal, and a procedure: their hints lie in the queue while they are in their step.
    // Several, so that there are executors beside the one that naps.
    for (workflow, signal) in [("naps", true), ("naps_p", false)] {
        db.run(&format!(
            "SELECT wf_start('{workflow}', id => '{workflow}-' || i) FROM generate_series(1, 3) i"
        ));
        for i in 1..=3 {
            db.result(&format!("{workflow}-{i}"));
        }
        start(&mut db, workflow, workflow, &json!({}));
        db.in_step(workflow, "nap");
        if signal {
            db.run(&format!("SELECT wf_signal('{workflow}', 'go')"));
        }
        assert!(db.count("wf.workers WHERE kind = 'executor' AND state = 'idle'") >= 1);
        std::thread::sleep(Duration::from_millis(300));
        let mut transactions = || -> i64 {
            db.one(
                "SELECT (xact_commit + xact_rollback)::int8 FROM pg_stat_database WHERE datname = current_database()",
            )
        };
        let before = transactions();
        std::thread::sleep(Duration::from_secs(1));
        let after = transactions();
        assert!(
            after - before <= 100,
            "{workflow}: {} transactions in a second",
            after - before
        );
        db.result(workflow);
    }
}

#[test]
fn large_inputs_and_results_do_not_pile_up() {
    let (_cluster, mut db) = effects(&["pg_workflow.max_executors = 1"]);
    procedure(
        &mut db,
        "large",
        "size bigint := 0; sum text := '';",
        "FOR i IN 1..40 LOOP
             CALL wf_step('large', 'SELECT repeat(md5($1->>''i''), 32768)', jsonb_build_object('i', i), r);
             size := size + length(r->>0);
             sum := md5(sum || (r->>0));
         END LOOP;
         PERFORM wf_sleep('1 ms');
         FOR i IN 1..5 LOOP
             CALL wf_step('again', 'SELECT repeat(md5($1->>''i''), 32768)', jsonb_build_object('i', i), r);
             size := size + length(r->>0);
             sum := md5(sum || (r->>0));
         END LOOP;
         result := jsonb_build_array(size, sum);",
    );
    start(&mut db, "large", "l", &json!({}));
    let expected: String = db.one(
        "WITH RECURSIVE c (k, sum) AS (
             SELECT 0, '' UNION ALL
             SELECT k + 1, md5(sum || repeat(md5((CASE WHEN k < 40 THEN k + 1 ELSE k - 39 END)::text), 32768)) FROM c WHERE k < 45)
         SELECT sum FROM c WHERE k = 45",
    );
    assert_eq!(db.result("l"), json!([45 * 1024 * 1024, expected]));
    assert_eq!(
        db.count("wf.steps WHERE id = 'l' AND kind = 'step' AND length(result->>0) = 1048576"),
        45
    );
    // One that is too large fails its step, and leaves no effect.
    db.run("ALTER SYSTEM SET pg_workflow.max_payload = '100kB'");
    db.run("SELECT pg_reload_conf()");
    eventually(SOON, "the limit is in force", || {
        db.one::<String>("SHOW pg_workflow.max_payload") == "100kB"
    });
    procedure(
        &mut db,
        "too_large",
        "",
        &format!(
            "FOR i IN 1..20 LOOP {} END LOOP;
             CALL wf_step('large', 'INSERT INTO effects (what) VALUES (repeat(''x'', 200000)) RETURNING what', '{{}}', r);",
            step("link", "i::text")
        ),
    );
    start(&mut db, "too_large", "t", &json!({}));
    assert_eq!(db.failure("t").sqlstate, "54000");
    assert_eq!(db.count("effects"), 20);
    procedure(
        &mut db,
        "large_end",
        "",
        &format!(
            "FOR i IN 1..20 LOOP {} END LOOP; result := to_jsonb(repeat('x', 200000));",
            step("link", "i::text")
        ),
    );
    start(&mut db, "large_end", "e", &json!({}));
    assert_eq!(db.failure("e").sqlstate, "54000");
    assert_eq!(db.count("effects"), 40);
    db.run("ALTER SYSTEM RESET pg_workflow.max_payload");
    db.run("SELECT pg_reload_conf()");

    // Inputs are not kept at all. What a chain leaves behind per step would show.
    db.run("TRUNCATE effects");
    procedure(
        &mut db,
        "inputs",
        "t text := repeat('x', 20000);",
        "FOR i IN 1..(input->>'n')::int LOOP
             CALL wf_step('link', 'INSERT INTO effects (what) VALUES (length($1->>''t'')::text)', jsonb_build_object('t', t || i), r);
         END LOOP;
         result := '1';",
    );
    start(&mut db, "inputs", "few", &json!({"n": 200}));
    assert_eq!(db.result("few"), json!(1));
    let pid: i32 = db.one("SELECT pid FROM wf.workers WHERE kind = 'executor'");
    let peak = || -> i64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the executor lives");
        let line = text.lines().find(|line| line.starts_with("VmHWM")).expect("a peak");
        line.split_whitespace()
            .nth(1)
            .and_then(|kb| kb.parse().ok())
            .expect("a number")
    };
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").ok();
    let before = peak();
    start(&mut db, "inputs", "many", &json!({"n": 6000}));
    assert_eq!(db.result("many"), json!(1));
    // 6000 inputs are 120 MB.
    assert!(peak() - before < 40 * 1024, "from {before} kB to {} kB", peak());
}
