//! `wf_test`: everything happens in the caller's transaction, and nothing of it stays, whatever happens.

use std::thread;
use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

const FLOWS: &str = "
    CREATE TABLE stock (item text PRIMARY KEY, units int NOT NULL);
    INSERT INTO stock VALUES ('book', 10);
    CREATE FUNCTION order_flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('take', 'UPDATE stock SET units = units - 1 RETURNING units');
        PERFORM wf_set('taken', 'true');
        PERFORM wf_wait_signal('approval', timeout => '3 days');
        PERFORM wf_sleep('1 hour');
        RETURN wf_step('who', 'SELECT current_user');
    END $$;
    CREATE FUNCTION naps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('take', 'UPDATE stock SET units = units - 1');
        PERFORM wf_sleep('100 years');
        RETURN wf_step('nap', 'SELECT pg_sleep(60)');
    END $$";

const TABLES: [&str; 7] = ["runs", "steps", "ready", "timers", "signals", "controls", "definitions"];

fn is_empty(db: &mut Client) -> bool {
    TABLES
        .iter()
        .all(|table| db.count(&format!("wf_internal.{table}")) == 0)
}

#[test]
fn nothing_stays_and_nobody_is_woken() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(FLOWS);
    for _ in 0..20 {
        db.run("SELECT wf_test('order_flow', signals => '[{\"name\": \"approval\", \"after\": \"1 day\"}]')");
    }
    db.run("BEGIN; SELECT wf_test('order_flow'); SELECT wf_test('order_flow'); COMMIT");
    assert!(is_empty(&mut db));
    assert_eq!(db.one::<i32>("SELECT units FROM stock"), 10);
    // A commit that tells of work has an executor started at once.
    throughout(Duration::from_millis(500), "no executor is started", || {
        db.count("wf.workers WHERE kind = 'executor'") == 0
    });
    // The transaction of a test still tells of what is really started in it.
    db.run("BEGIN; SELECT wf_start('order_flow', id => 'real'); SELECT wf_test('order_flow'); COMMIT");
    db.waits_for("real", "signal");
}

#[test]
fn a_test_holds_no_lock_on_rows_behind_it() {
    let cluster = Cluster::new();
    let (mut db, mut other) = (cluster.admin(), cluster.admin());
    db.run(FLOWS);
    db.run("BEGIN; SELECT wf_test('order_flow')");
    other.run("SET lock_timeout = '5 s'; UPDATE stock SET units = 20");
    // And tests of two sessions at once, in transactions that stay open.
    other.run("BEGIN; SELECT wf_test('order_flow')");
    db.run("SELECT wf_test('order_flow'); COMMIT");
    other.run("COMMIT");
    assert_eq!(other.one::<i32>("SELECT units FROM stock"), 20);
    assert!(is_empty(&mut other));
}

#[test]
fn other_work_of_the_role_is_left_alone() {
    // Without workers: what is ready stays so.
    let cluster = Cluster::bare(&[]);
    let (mut db, mut other) = (cluster.admin(), cluster.admin());
    db.run("CREATE EXTENSION pg_workflow");
    db.run(FLOWS);
    db.run(
        "SELECT wf_start('order_flow', id => 'ready'); SELECT wf_start('order_flow', id => 'later', delay => '1 day')",
    );
    db.run("SELECT wf_start('order_flow', id => 'waits')");
    other.run("BEGIN; SELECT wf_start('order_flow', id => 'open')");
    db.run(
        "CREATE FUNCTION meddles(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_step('signal', 'SELECT wf_signal(id, ''approval'') FROM wf.workflows WHERE workflow = ''order_flow''');
             PERFORM wf_step('cancel', 'SELECT wf_cancel(id) FROM wf.workflows WHERE workflow = ''order_flow''');
             PERFORM wf_sleep('1 year');
             RETURN wf_step('see', 'SELECT status FROM wf.workflows WHERE workflow = ''order_flow''');
         END $$",
    );
    let before: (i64, i64) = (db.count("wf_internal.ready"), db.count("wf_internal.timers"));
    let trace: Value = db.one("SELECT wf_test('meddles')");
    assert_eq!(trace["result"], json!(["pending", "pending", "pending"]), "{trace}");
    assert_eq!(trace["started"], json!([]));
    assert_eq!((db.count("wf_internal.ready"), db.count("wf_internal.timers")), before);
    assert_eq!(db.count("wf_internal.signals") + db.count("wf_internal.controls"), 0);
    assert_eq!(db.count("wf.workflows WHERE status = 'pending'"), 3);
    other.run("ROLLBACK");
}

#[test]
fn it_runs_as_who_is_connected_and_as_nobody_else() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; GRANT bob TO alice");
    db.run(FLOWS);
    db.run("GRANT SELECT, UPDATE ON stock TO alice");
    let mut alice = cluster.connect("postgres", "alice");
    let result = |session: &mut Client| session.one::<Value>("SELECT wf_test('order_flow')")["result"].clone();
    assert_eq!(result(&mut alice), json!(["alice"]));
    assert_eq!(result(&mut db), json!(["postgres"]));
    // Her own tables only; what is refused is part of what happens.
    db.run("REVOKE UPDATE ON stock FROM alice");
    let trace: Value = alice.one("SELECT wf_test('order_flow')");
    assert_eq!(
        (&trace["status"], &trace["error"]["sqlstate"]),
        (&json!("failed"), &json!("42501"))
    );
    // Under a borrowed role its code could shed it.
    assert_eq!(
        alice.fails("SET ROLE bob; SELECT wf_test('order_flow')").sqlstate,
        "42501"
    );
    alice.run("RESET ROLE");
    db.run(
        "CREATE FUNCTION definer() RETURNS jsonb LANGUAGE sql SECURITY DEFINER AS $$ SELECT public.wf_test('order_flow') $$",
    );
    assert_eq!(alice.fails("SELECT definer()").sqlstate, "42501");
    // Code of the test has no way up, and is who it was afterwards.
    db.run(
        "CREATE FUNCTION climbs(sql text) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('climb', sql || '; SELECT current_user'); END $$",
    );
    for sql in ["RESET ROLE", "RESET SESSION AUTHORIZATION", "SET ROLE bob"] {
        let trace: Value = alice.one(&format!("SELECT wf_test('climbs', '{{\"sql\": \"{sql}\"}}')"));
        assert_ne!(trace["result"], json!(["postgres"]), "{sql}: {trace}");
        assert_eq!(
            alice.one::<String>("SELECT current_user || ' ' || session_user"),
            "alice alice"
        );
    }
    // Not in an executor, not even in a trigger at the commit of a step.
    db.run(
        "CREATE TABLE deferred (n int);
         CREATE FUNCTION tests() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM wf_test('order_flow'); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER t AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tests();
         CREATE FUNCTION inserts(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('i', 'INSERT INTO deferred VALUES (1)'); END $$;
         SELECT wf_start('inserts', id => 'i')",
    );
    assert_eq!(db.failure("i").sqlstate, "55000");
}

#[test]
fn a_test_that_is_interrupted_leaves_a_session_as_it_was() {
    let cluster = Cluster::new();
    let (mut db, mut session) = (cluster.admin(), cluster.admin());
    db.run(FLOWS);
    let pid: i32 = session.one("SELECT pg_backend_pid()");
    for sql in [
        "SELECT wf_test('naps')",
        "DO $$ BEGIN PERFORM wf_test('naps'); EXCEPTION WHEN query_canceled THEN RAISE 'caught'; END $$",
    ] {
        thread::scope(|scope| {
            let test = scope.spawn(|| session.fails(sql));
            eventually(SOON, "in the step", || {
                db.count("pg_stat_activity WHERE wait_event = 'PgSleep'") == 1
            });
            db.run(&format!("SELECT pg_cancel_backend({pid})"));
            assert!(["57014", "P0001"].contains(&test.join().unwrap().sqlstate.as_str()));
        });
        // Neither the clock nor the queue of the test is left.
        session.run("BEGIN; SELECT wf_start('order_flow', id => 'own')");
        assert!(session.one::<bool>(
            "SELECT created_at BETWEEN now() - interval '1 min' AND now() + interval '1 min' FROM wf.workflows WHERE id = 'own'"
        ));
        assert_eq!(session.count("wf_internal.ready"), 1);
        session.run("ROLLBACK");
        assert_eq!(
            session.one::<Value>("SELECT wf_test('order_flow')")["took"],
            json!("3 days 01:00:00")
        );
    }
    assert!(is_empty(&mut db));
    // Its process ends in the middle: nothing is left for anybody to run.
    thread::scope(|scope| {
        let test = scope.spawn(|| session.fails("SELECT wf_test('naps')"));
        eventually(SOON, "in the step", || {
            db.count("pg_stat_activity WHERE wait_event = 'PgSleep'") == 1
        });
        kill(pid.cast_unsigned());
        test.join().unwrap();
    });
    // Postgres ends all others, too, a moment later.
    eventually(SOON, "the server begins anew", || {
        cluster.logged("all server processes terminated") == 1
    });
    cluster.wait_ready();
    let mut db = cluster.admin();
    assert!(is_empty(&mut db));
    assert_eq!(db.one::<i32>("SELECT units FROM stock"), 10);
}

#[test]
fn a_suite_of_tests_is_fast() {
    let cluster = Cluster::bare(&[]);
    let mut db = cluster.admin();
    db.run("CREATE EXTENSION pg_workflow");
    db.run(FLOWS);
    let begun = Instant::now();
    db.run("DO $$ BEGIN FOR i IN 1..500 LOOP ASSERT wf_test('order_flow')->>'status' = 'completed'; END LOOP; END $$");
    let took = begun.elapsed();
    eprintln!("{took:?} for 500 tests");
    assert!(took < Duration::from_secs(20), "{took:?}");
}
