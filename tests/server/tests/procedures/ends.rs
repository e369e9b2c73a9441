//! Ends before the end: cancels, deadlines, retries, conflicts.

use super::*;

/// A run was cancelled, long before it would have ended by itself, and nothing of it is left.
fn is_cancelled(db: &mut Client, id: &str) {
    let begun = Instant::now();
    let failure = db.failure(id);
    assert_eq!(failure.sqlstate, "WF002", "{failure:?}");
    assert!(failure.detail.contains("enough"), "{failure:?}");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(db.status(id), "cancelled");
    queues_are_empty(db);
}

#[test]
fn a_cancel_ends_a_chain_soon() {
    let (cluster, mut db) = effects(&[]);
    chain(&mut db);
    let n = 1_000_000;
    for round in 0..3 {
        let id = format!("c-{round}");
        db.run("TRUNCATE effects");
        start(&mut db, "chain", &id, &json!({"n": n}));
        effects_reach(&mut db, 500);
        assert!(db.one::<bool>(&format!("SELECT wf_cancel('{id}', 'enough')")));
        is_cancelled(&mut db, &id);
        // What was done is on record, and nothing else.
        let done = db.count(&format!("wf.steps WHERE id = '{id}' AND status = 'completed'"));
        assert_eq!(db.count("effects"), done);
        assert_eq!(db.one::<i64>("SELECT max(what::int)::int8 FROM effects"), done);
        assert_eq!(
            history(&mut db, &id)[usize::try_from(done).unwrap()..],
            ["link cancelled WF002"]
        );
        throughout(Duration::from_millis(200), "no step runs any more", || {
            db.count("effects") == done
        });
    }
    // The process goes on with other work.
    let before = calls(&cluster, "chain");
    db.run("TRUNCATE effects");
    start(&mut db, "chain", "after", &json!({"n": 100}));
    chain_is_whole(&mut db, "after", 100);
    assert!(calls(&cluster, "chain") - before <= 5);
    assert_eq!(cluster.logged("terminated by signal"), 0);
}

#[test]
fn a_cancelled_procedure_may_clean_up() {
    let (_cluster, mut db) = effects(&[]);
    // With the chain within the block, a slow step within it, a wait within it, and the procedure's own code, which gets a
    // second to come to its next call.
    procedure(
        &mut db,
        "cleans",
        "",
        &format!(
            "FOR i IN 1..100 LOOP {before} END LOOP;
             BEGIN
                 CASE input->>'stands'
                     WHEN 'in a chain' THEN FOR i IN 1..100000 LOOP {link} END LOOP;
                     WHEN 'in a step' THEN CALL wf_step('nap', 'INSERT INTO effects (what) VALUES (''half''); SELECT pg_sleep(60)', '{{}}', r);
                     WHEN 'in a wait' THEN PERFORM wf_wait_signal('go');
                     WHEN 'in a retry' THEN CALL wf_step('bad', 'SELECT 1 / 0', '{{}}', r, retry => '{{\"first_delay\": \"1 h\"}}');
                     WHEN 'in its code' THEN PERFORM pg_sleep(0.5); {link}
                 END CASE;
             EXCEPTION WHEN SQLSTATE 'WF002' THEN
                 FOR i IN 1..100 LOOP {undo} END LOOP;
                 IF input ? 'raise' THEN RAISE; END IF;
                 result := '\"cleaned up\"';
             END;
             {after}",
            before = step("before", "'before'"),
            link = step("link", "'link'"),
            undo = step("undo", "'undone'"),
            after = step("after", "'after'"),
        ),
    );
    for (stands, until) in [
        ("in a chain", "(SELECT count(*) FROM effects WHERE what = 'link') > 3"),
        (
            "in a step",
            "EXISTS (SELECT FROM wf.workers WHERE step = 'nap' AND since < now() - interval '200 ms')",
        ),
        (
            "in a wait",
            "EXISTS (SELECT FROM wf.workflows WHERE waiting_for LIKE 'signal%')",
        ),
        (
            "in a retry",
            "EXISTS (SELECT FROM wf.workflows WHERE waiting_for LIKE 'retry%')",
        ),
        (
            "in its code",
            "(SELECT count(*) FROM effects) = 100 AND EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')",
        ),
    ] {
        for raise in [false, true] {
            let id = format!("{stands} {raise}");
            db.run("TRUNCATE effects");
            let mut input = json!({"stands": stands});
            if raise {
                input["raise"] = json!(true);
            }
            start(&mut db, "cleans", &id, &input);
            eventually(SOON, &id, || db.one::<bool>(&format!("SELECT {until}")));
            assert!(db.one::<bool>(&format!("SELECT wf_cancel('{id}', 'enough')")), "{id}");
            if raise {
                is_cancelled(&mut db, &id);
            } else {
                assert_eq!(db.result(&id), json!("cleaned up"), "{id}");
            }
            assert_eq!(db.count("effects WHERE what = 'before'"), 100, "{id}");
            assert_eq!(db.count("effects WHERE what = 'undone'"), 100, "{id}");
            assert_eq!(db.count("effects WHERE what = 'half'"), 0, "{id}");
            assert_eq!(db.count("effects WHERE what = 'after'"), i64::from(!raise), "{id}");
            assert_eq!(
                db.count(&format!("wf.steps WHERE id = '{id}' AND sqlstate = 'WF002'")),
                1,
                "{id}"
            );
            let linked = db.count("effects WHERE what = 'link'");
            assert_eq!(
                db.count(&format!(
                    "wf.steps WHERE id = '{id}' AND name = 'link' AND status = 'completed'"
                )),
                linked,
                "{id}"
            );
        }
    }
}

#[test]
fn a_cancel_interrupts_a_slow_step_in_place() {
    let (_cluster, mut db) = effects(&[]);
    procedure(
        &mut db,
        "naps",
        "",
        &format!(
            "FOR i IN 1..100 LOOP {} END LOOP;
             CALL wf_step('nap', 'INSERT INTO effects (what) VALUES (''half''); SELECT pg_sleep(60)', '{{}}', r);
             {}",
            step("before", "'before'"),
            step("after", "'after'")
        ),
    );
    // The second time the process knows the step for slow, and lets it run in place.
    for round in 1..=3 {
        let id = format!("n-{round}");
        start(&mut db, "naps", &id, &json!({}));
        let pid = db.in_step(&id, "nap");
        assert!(db.one::<bool>(&format!("SELECT wf_cancel('{id}', 'enough')")));
        is_cancelled(&mut db, &id);
        assert!(is_alive(pid));
        assert_eq!(db.count("effects"), 100 * round);
        assert_eq!(history(&mut db, &id).last().unwrap(), "nap cancelled WF002");
    }
}

#[test]
fn a_deadline_ends_it_wherever_it_stands() {
    let (_cluster, mut db) = effects(&[]);
    chain(&mut db);
    let many = format!("FOR i IN 1..100 LOOP {} END LOOP;", step("before", "i::text"));
    procedure(&mut db, "stalls", "", &format!("{many} PERFORM pg_sleep(30);"));
    procedure(
        &mut db,
        "naps",
        "",
        &format!("{many} CALL wf_step('nap', 'SELECT pg_sleep(30)', '{{}}', r);"),
    );
    procedure(&mut db, "waits", "", &format!("{many} PERFORM wf_wait_signal('go');"));
    procedure(
        &mut db,
        "catches_all",
        "",
        &format!(
            "{many} LOOP BEGIN CALL wf_step('nap', 'SELECT pg_sleep(30)', '{{}}', r); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP;"
        ),
    );
    for workflow in ["chain", "stalls", "naps", "waits", "catches_all"] {
        db.run("TRUNCATE effects");
        db.run(&format!(
            "SELECT wf_start('{workflow}', '{{\"n\": 1000000}}', id => '{workflow}', timeout => '2 s')"
        ));
        let begun = Instant::now();
        let failure = db.failure(workflow);
        assert_eq!(failure.sqlstate, "WF003", "{workflow} {failure:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "{workflow} {:?}",
            begun.elapsed()
        );
        let done = db.count(&format!(
            "wf.steps WHERE id = '{workflow}' AND kind = 'step' AND status = 'completed'"
        ));
        assert!(done >= 100, "{workflow}: {done}");
        assert_eq!(db.count("effects"), done, "{workflow}");
        queues_are_empty(&mut db);
    }
    // The timeout of a step, in place: of each attempt, and of the rest nothing is lost.
    db.run("TRUNCATE effects; CREATE SEQUENCE naps");
    procedure(
        &mut db,
        "impatient",
        "caught text;",
        &format!(
            "{many}
             BEGIN
                 CALL wf_step('nap', 'SELECT nextval(''naps''), pg_sleep(30)', '{{}}', r, timeout => '200 ms',
                              retry => '{{\"max_attempts\": 2, \"first_delay\": \"10 ms\"}}');
             EXCEPTION WHEN SQLSTATE 'WF004' THEN caught := SQLERRM;
             END;
             {many}
             CALL wf_step('outside', 'SELECT pg_sleep(30)', '{{}}', r, timeout => '20 ms', retry => '{{\"max_attempts\": 1}}');"
        ),
    );
    start(&mut db, "impatient", "i", &json!({}));
    let failure = db.failure("i");
    assert_eq!(
        (failure.sqlstate.as_str(), failure.message.as_str()),
        ("WF004", "step \"outside\" did not end within its timeout")
    );
    assert_eq!(db.count("effects"), 200);
    assert_eq!(
        db.all::<i32>("SELECT attempt FROM wf.steps WHERE id = 'i' AND status = 'failed' ORDER BY n"),
        [2, 1]
    );
    // One that ends in time leaves no timer.
    db.run("TRUNCATE effects; SELECT wf_start('chain', '{\"n\": 500}', id => 'in time', timeout => '1 hour')");
    chain_is_whole(&mut db, "in time", 500);
    queues_are_empty(&mut db);
}

#[test]
fn retries_keep_the_chain() {
    let (cluster, mut db) = effects(&[]);
    db.run(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION flaky(what text) RETURNS text LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO effects (what) VALUES (flaky.what);
             IF nextval('tries') % 4 <> 0 THEN RAISE 'not this time'; END IF;
             RETURN what;
         END $$",
    );
    procedure(
        &mut db,
        "flaky_chain",
        "",
        &format!(
            "FOR i IN 1..60 LOOP
                 {}
                 IF i % 20 = 0 THEN
                     CALL wf_step('flaky', 'flaky', jsonb_build_object('what', 'flaky ' || i), r,
                                  retry => '{{\"max_attempts\": 0, \"first_delay\": \"5 ms\", \"backoff\": 1}}');
                 END IF;
             END LOOP;
             result := r;",
            step("link", "i::text")
        ),
    );
    start(&mut db, "flaky_chain", "f", &json!({}));
    assert_eq!(db.result("f"), json!("flaky 60"));
    assert_eq!(db.count("effects"), 63);
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT what) FROM effects"), 63);
    // One that takes long on a busy machine is interrupted: the sequence has counted it, the step has not.
    let attempts = db.all::<i32>("SELECT attempt FROM wf.steps WHERE id = 'f' AND name = 'flaky' ORDER BY n");
    assert!(attempts.iter().all(|attempt| (2..=4).contains(attempt)), "{attempts:?}");
    let tries: i64 = db.one("SELECT last_value FROM tries");
    assert!(tries >= 12 && tries % 4 == 0, "{tries}");
    assert_eq!(
        db.count("wf.steps WHERE id = 'f' AND name = 'link' AND attempt <> 1"),
        0
    );
    assert!(
        calls(&cluster, "flaky_chain") <= 40,
        "{} calls",
        calls(&cluster, "flaky_chain")
    );
    queues_are_empty(&mut db);
}

#[test]
fn two_chains_that_lock_each_other_come_through() {
    let (_cluster, mut db) = effects(&["deadlock_timeout = 100ms"]);
    db.run("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)");
    // Steps in one transaction hold their locks together, which alone they would not.
    procedure(
        &mut db,
        "locks",
        "a int := (input->>'a')::int;",
        "FOR i IN 1..50 LOOP
             CALL wf_step('first', 'UPDATE t SET n = n + 1 WHERE id = ($1->>''a'')::int', input, r);
             CALL wf_step('second', 'UPDATE t SET n = n + 1 WHERE id = 3 - ($1->>''a'')::int', input, r);
         END LOOP;
         result := '1';",
    );
    db.run(
        "SELECT wf_start('locks', jsonb_build_object('a', 1 + i % 2), id => 'l-' || i) FROM generate_series(1, 8) i",
    );
    eventually(Duration::from_secs(60), "all end", || {
        db.count("wf.workflows WHERE finished_at IS NULL") == 0
    });
    assert_eq!(db.count("wf.workflows WHERE status = 'completed'"), 8);
    assert_eq!(db.all::<i32>("SELECT n FROM t ORDER BY id"), [400, 400]);
}

#[test]
fn a_step_that_waits_for_a_lock_holds_nobody_up() {
    let (cluster, mut db) = effects(&[]);
    db.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    procedure(
        &mut db,
        "blocked",
        "",
        &format!(
            "FOR i IN 1..20 LOOP {} END LOOP;
             CALL wf_step('wants', 'UPDATE t SET id = id', '{{}}', r);
             FOR i IN 1..20 LOOP {} END LOOP;
             result := r;",
            step("before", "'before ' || i"),
            step("after", "'after ' || i")
        ),
    );
    let mut holder = cluster.admin();
    holder.run("BEGIN; UPDATE t SET id = id");
    start(&mut db, "blocked", "b", &json!({}));
    // What came before is committed, so that nobody waits for it.
    effects_reach(&mut db, 20);
    throughout(Duration::from_millis(300), "it is blocked", || {
        db.count("effects") == 20
    });
    holder.run("COMMIT");
    assert_eq!(db.result("b"), json!("after 20"));
    assert_eq!(db.count("effects"), 40);
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT what) FROM effects"), 40);
}

#[test]
fn an_administrator_s_interruptions_lose_nothing() {
    let (cluster, mut db) = effects(&["pg_workflow.max_executors = 1"]);
    chain(&mut db);
    let mut random = Random::new();
    let mut interrupted = 0;
    for round in 0..15 {
        let id = format!("c-{round}");
        db.run("TRUNCATE effects");
        start(&mut db, "chain", &id, &json!({"n": 3000}));
        effects_reach(&mut db, 1);
        std::thread::sleep(Duration::from_micros(random.below(50_000)));
        // Wherever it hits: in a step, between steps, in the engine.
        db.run("SELECT pg_cancel_backend(pid) FROM wf.workers WHERE kind = 'executor'");
        match db.attempt(&format!("SELECT wf_result('{id}', '30 s')")) {
            Ok(()) => chain_is_whole(&mut db, &id, 3000),
            Err(failure) => {
                assert_eq!(failure.sqlstate, "57014", "{failure:?}");
                interrupted += 1;
            }
        }
        let done = db.count(&format!("wf.steps WHERE id = '{id}' AND status = 'completed'"));
        assert_eq!(db.count("effects"), done);
        assert_eq!(db.one::<i64>("SELECT count(DISTINCT what) FROM effects"), done);
        queues_are_empty(&mut db);
    }
    eprintln!("{interrupted} of 15 were interrupted");
    db.run("TRUNCATE effects");
    start(&mut db, "chain", "after", &json!({"n": 300}));
    chain_is_whole(&mut db, "after", 300);
    assert_eq!(cluster.logged("terminated by signal"), 0);
}

#[test]
fn database_and_extension_are_dropped_under_a_chain() {
    let cluster = Cluster::new();
    for drop_all in [false, true] {
        let mut db = cluster.database("doomed");
        db.run(EFFECTS);
        chain(&mut db);
        start(&mut db, "chain", "c", &json!({"n": 1_000_000}));
        effects_reach(&mut db, 500);
        let begun = Instant::now();
        if drop_all {
            drop(db);
        } else {
            db.run("DROP EXTENSION pg_workflow");
            let done = db.count("effects");
            throughout(Duration::from_millis(200), "the chain is over", || {
                db.count("effects") == done
            });
            db.run("CREATE EXTENSION pg_workflow; TRUNCATE effects");
            start(&mut db, "chain", "c", &json!({"n": 300}));
            chain_is_whole(&mut db, "c", 300);
            drop(db);
        }
        cluster.admin().run("DROP DATABASE doomed");
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    }
    assert_eq!(cluster.logged("PANIC") + cluster.logged("terminated by signal"), 0);
}
