//! Promise 2, for cancels, and what they do: a wait ends, a running SQL step is interrupted, the workflow may clean up.

use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

const SLOW: &str = "CREATE FUNCTION slow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_step('nap', 'SELECT pg_sleep(60)'); END $$";

const LOG: &str = "CREATE TABLE log (id bigserial, what text)";

fn is_cancelled(db: &mut Client, id: &str, within: Duration) {
    let begun = Instant::now();
    let failure = db.failure(id);
    assert_eq!(failure.sqlstate, "WF002", "{failure:?}");
    assert!(begun.elapsed() < within, "{:?}", begun.elapsed());
    assert_eq!(db.status(id), "cancelled");
    assert!(db.one::<bool>(&format!(
        "SELECT finished_at IS NOT NULL AND waiting_for IS NULL FROM wf.workflows WHERE id = '{id}'"
    )));
    eventually(SOON, "queues are empty", || {
        db.count("wf_internal.ready") + db.count("wf_internal.controls") + db.count("wf_internal.timers") == 0
    });
}

#[test]
fn a_waiting_instance_ends_at_once() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             IF input ? 'sleep' THEN PERFORM wf_sleep('1 day'); END IF;
             RETURN wf_wait_signal('go', timeout => '1 day');
         END $$",
    );
    for (id, input, what) in [("w", "{}", "signal"), ("s", "{\"sleep\": 1}", "sleep")] {
        db.run(&format!("SELECT wf_start('waits', '{input}', id => '{id}')"));
        db.waits_for(id, what);
        assert!(db.one::<bool>(&format!("SELECT wf_cancel('{id}', 'not wanted')")));
        is_cancelled(&mut db, id, Duration::from_secs(1));
        let failure = db.failure(id);
        assert!(failure.detail.contains("not wanted"), "{failure:?}");
        assert_eq!(
            db.all::<String>(&format!("SELECT status FROM wf.steps WHERE id = '{id}'")),
            ["cancelled"]
        );
    }
}

#[test]
fn a_running_step_is_interrupted_and_rolled_back() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(LOG);
    db.run(
        "CREATE FUNCTION half(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('nap', 'INSERT INTO log (what) VALUES (''half''); SELECT pg_sleep(60)'); END $$",
    );
    db.run("SELECT wf_start('half', id => 'h')");
    let pid = db.in_step("h", "nap");
    assert!(db.one::<bool>("SELECT wf_cancel('h')"));
    is_cancelled(&mut db, "h", Duration::from_secs(2));
    assert_eq!(db.count("log"), 0);
    eventually(SOON, "the executor is done with it", || {
        db.count(&format!("pg_stat_activity WHERE pid = {pid} AND state = 'active'")) == 0
    });
    // It lives on.
    assert!(is_alive(pid));
}

#[test]
fn a_cancel_in_a_user_function_of_a_step_is_not_swallowed() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    // WHEN OTHERS in the step's own code does not catch query_canceled.
    db.run(
        "CREATE FUNCTION stubborn(input jsonb) RETURNS text LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_sleep(60); RETURN 'slept'; EXCEPTION WHEN OTHERS THEN RETURN 'swallowed'; END $$;
         CREATE FUNCTION uses(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('nap', 'stubborn'); EXCEPTION WHEN division_by_zero THEN RETURN 'wrong'; END $$",
    );
    db.run("SELECT wf_start('uses', id => 'u')");
    db.in_step("u", "nap");
    db.run("SELECT wf_cancel('u')");
    is_cancelled(&mut db, "u", Duration::from_secs(2));
}

#[test]
fn the_workflow_may_catch_it_and_clean_up() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(LOG);
    db.run(
        "CREATE FUNCTION cleans(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_step('book', 'INSERT INTO log (what) VALUES (''booked'')');
             BEGIN
                 IF input ? 'step' THEN
                     PERFORM wf_step('nap', 'SELECT pg_sleep(60)');
                 ELSE
                     PERFORM wf_wait_signal('go');
                 END IF;
             EXCEPTION WHEN SQLSTATE 'WF002' THEN
                 PERFORM wf_step('unbook', 'INSERT INTO log (what) VALUES (''unbooked'')');
                 IF input ? 'raise' THEN RAISE; END IF;
                 RETURN '\"cleaned up\"';
             END;
             RETURN '\"went on\"';
         END $$",
    );
    db.run("SELECT wf_start('cleans', id => 'w')");
    db.waits_for("w", "signal");
    db.run("SELECT wf_cancel('w')");
    assert_eq!(db.result("w"), json!("cleaned up"));
    assert_eq!(
        db.all::<String>("SELECT what FROM log ORDER BY id"),
        ["booked", "unbooked"]
    );

    db.run("SELECT wf_start('cleans', '{\"step\": 1, \"raise\": 1}', id => 's')");
    db.in_step("s", "nap");
    db.run("SELECT wf_cancel('s')");
    is_cancelled(&mut db, "s", Duration::from_secs(2));
    assert_eq!(
        db.all::<String>("SELECT what FROM log ORDER BY id"),
        ["booked", "unbooked", "booked", "unbooked"]
    );
}

#[test]
fn one_that_has_not_begun_never_begins() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(LOG);
    db.run(
        "CREATE FUNCTION logs(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('log', 'INSERT INTO log (what) VALUES (''began'')'); END $$",
    );
    db.run("SELECT wf_start('logs', id => 'd', delay => '700 ms')");
    assert_eq!(db.status("d"), "pending");
    assert!(db.one::<bool>("SELECT wf_cancel('d')"));
    assert_eq!(db.failure("d").sqlstate, "WF002");
    throughout(Duration::from_millis(900), "nothing happens", || db.count("log") == 0);
    is_cancelled(&mut db, "d", Duration::from_secs(1));
    // Started and cancelled in one transaction.
    db.run("BEGIN; SELECT wf_start('logs', id => 'both'); SELECT wf_cancel('both'); COMMIT");
    is_cancelled(&mut db, "both", Duration::from_secs(5));
    assert_eq!(db.count("log"), 0);
}

#[test]
fn an_ended_one_cannot_be_cancelled_and_twice_is_once() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(SLOW);
    db.run("CREATE FUNCTION hello(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '1'::jsonb $$");
    db.run("SELECT wf_start('hello', id => 'h')");
    assert_eq!(db.result("h"), json!(1));
    assert!(!db.one::<bool>("SELECT wf_cancel('h')"));
    assert_eq!(db.status("h"), "completed");
    assert_eq!(db.fails("SELECT wf_cancel('nobody')").sqlstate, "42704");

    db.run("SELECT wf_start('slow', id => 's')");
    db.in_step("s", "nap");
    db.run("BEGIN; SELECT wf_cancel('s', 'first'); SELECT wf_cancel('s', 'second'); COMMIT");
    is_cancelled(&mut db, "s", Duration::from_secs(2));
    assert!(!db.one::<bool>("SELECT wf_cancel('s')"));
    // The executor is not left with a cancel that hits the next instance.
    db.run("SELECT wf_start('hello', id => 'next')");
    assert_eq!(db.result("next"), json!(1));
}

#[test]
fn a_cancel_hits_its_instance_and_no_neighbour() {
    let cluster = Cluster::with(&["pg_workflow.max_executors = 1"]);
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION short(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             FOR i IN 1..3 LOOP PERFORM wf_step('s', 'SELECT pg_sleep(0.001)'); END LOOP;
             RETURN '\"done\"';
         END $$",
    );
    // Cancels of every third one while batches of them run.
    db.run("SELECT wf_start('short', id => 'i-' || i) FROM generate_series(1, 300) i");
    let mut cancelled = 0;
    for i in (3..=300).step_by(3) {
        cancelled += i32::from(db.one::<bool>(&format!("SELECT wf_cancel('i-{i}')")));
    }
    eventually(SOON, "all end", || {
        db.count("wf.workflows WHERE finished_at IS NULL") == 0
    });
    assert_eq!(
        db.count("wf.workflows WHERE status = 'failed'"),
        0,
        "{:?}",
        db.all::<Option<String>>("SELECT error FROM wf.workflows WHERE status = 'failed' LIMIT 3")
    );
    assert_eq!(
        db.count("wf.workflows WHERE status = 'cancelled' AND substr(id, 3)::int % 3 <> 0"),
        0
    );
    assert!(db.count("wf.workflows WHERE status = 'cancelled'") <= i64::from(cancelled));
    assert!(db.count("wf.workflows WHERE status = 'cancelled'") > 0);
    eventually(SOON, "queues are empty", || {
        db.count("wf_internal.controls") + db.count("wf_internal.ready") == 0
    });
}

#[test]
fn a_function_that_is_interrupted_between_steps_may_clean_up() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(LOG);
    db.run(
        "CREATE FUNCTION thinks(seconds float8) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM pg_sleep(seconds);
             RETURN wf_step('work', 'INSERT INTO log (what) VALUES (''work'')');
         EXCEPTION WHEN SQLSTATE 'WF002' THEN
             PERFORM wf_step('undo', 'INSERT INTO log (what) VALUES (''undo'')');
             RAISE;
         END $$",
    );
    // Half a second of thinking: it gets to its call, is told there, and cleans up. A minute: it is not waited for.
    for (id, seconds, log) in [("short", 0.5, vec!["undo"]), ("long", 60.0, vec![])] {
        db.run("TRUNCATE log");
        db.run(&format!(
            "SELECT wf_start('thinks', '{{\"seconds\": {seconds}}}', id => '{id}')"
        ));
        eventually(SOON, "it thinks", || {
            db.count(&format!("wf.workers WHERE id = '{id}'")) == 1
        });
        db.run(&format!("SELECT wf_cancel('{id}')"));
        is_cancelled(&mut db, id, Duration::from_secs(5));
        assert_eq!(db.all::<String>("SELECT what FROM log ORDER BY id"), log);
    }
}
