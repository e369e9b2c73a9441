//! Steps that are not transactional: at least once, one process at a time, as the owner and nobody else; what becomes of them
//! when they are cancelled, or their process or server goes.

use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

/// What it has done before its first commit stays; then it sleeps, unless it is the second time.
const HALVES: &str = "
    CREATE TABLE log (id bigserial, what text, at timestamptz DEFAULT clock_timestamp(), pid int DEFAULT pg_backend_pid());
    CREATE PROCEDURE halves(times int DEFAULT 1) LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO log (what) VALUES ('begin');
        COMMIT;
        IF (SELECT count(*) FROM log WHERE what = 'begin') <= times THEN PERFORM pg_sleep(60); END IF;
        INSERT INTO log (what) VALUES ('end');
    END $$;
    CREATE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('before', 'INSERT INTO log (what) VALUES (''before'')');
        PERFORM wf_step('halves', 'halves', input - 'retry', retry => input->'retry', transactional => false);
        RETURN wf_step('after', 'INSERT INTO log (what) VALUES (''after'') RETURNING what');
    END $$";

const QUICK: &str = r#"{"retry": {"first_delay": "10 ms"}}"#;

fn log(db: &mut Client) -> String {
    db.one("SELECT coalesce(string_agg(what, ' ' ORDER BY id), '') FROM log")
}

#[test]
fn it_runs_again_after_a_crash_of_the_server() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(HALVES);
    db.run(&format!("SELECT wf_start('flow', '{QUICK}', id => 'f')"));
    let pid = db.in_step("f", "halves");
    assert_eq!(log(&mut db), "before begin");
    // Nothing of ours is open meanwhile: no lock on our tables, and so no transaction.
    assert_eq!(
        db.count(&format!(
            "pg_locks WHERE pid = {pid} AND relation::regclass::text LIKE 'wf_internal.%'"
        )),
        0
    );
    assert_eq!(
        db.one::<String>("SELECT status || ' ' || attempt FROM wf.branches WHERE id = 'f'"),
        "running 1"
    );
    cluster.kill9();
    cluster.start();
    let mut db = cluster.admin();
    assert_eq!(db.result("f"), json!(["after"]));
    assert_eq!(log(&mut db), "before begin begin end after");
    assert_eq!(
        db.one::<String>("SELECT status || ' ' || attempt FROM wf.steps WHERE id = 'f' AND name = 'halves'"),
        "completed 2"
    );
    assert_eq!(db.count("wf_internal.commands") + db.count("wf_internal.ready"), 0);
}

#[test]
fn a_crash_of_one_process_is_one_of_the_server() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(HALVES);
    db.run(&format!("SELECT wf_start('flow', '{QUICK}', id => 'f')"));
    kill(db.in_step("f", "halves"));
    eventually(SOON, "the server has crashed and is back", || {
        cluster.logged("database system is ready to accept connections") == 2
    });
    let mut db = cluster.admin();
    assert_eq!(db.result("f"), json!(["after"]));
    assert_eq!(log(&mut db), "before begin begin end after");
}

#[test]
fn it_runs_again_after_a_fast_shutdown() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(HALVES);
    db.run(&format!("SELECT wf_start('flow', '{QUICK}', id => 'f')"));
    db.in_step("f", "halves");
    assert!(cluster.stop(Stop::Fast) < Duration::from_secs(10));
    cluster.start();
    let mut db = cluster.admin();
    assert_eq!(db.result("f"), json!(["after"]));
    assert_eq!(log(&mut db), "before begin begin end after");
}

#[test]
fn another_process_takes_over_when_one_is_terminated() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(HALVES);
    // Without a policy, too: a lost attempt is no error of the command.
    for (id, input) in [("q", QUICK), ("d", "{}")] {
        db.run("TRUNCATE log RESTART IDENTITY");
        db.run(&format!("SELECT wf_start('flow', '{input}', id => '{id}')"));
        let pid = db.in_step(id, "halves");
        db.run(&format!("SELECT pg_terminate_backend({pid})"));
        assert_eq!(db.result(id), json!(["after"]));
        assert_eq!(log(&mut db), "before begin begin end after");
        assert_eq!(
            db.one::<i64>("SELECT count(DISTINCT pid) FROM log WHERE what = 'begin'"),
            2
        );
        assert_eq!(
            db.one::<i32>(&format!(
                "SELECT attempt FROM wf.steps WHERE id = '{id}' AND name = 'halves'"
            )),
            2
        );
    }
    // The policy decides.
    db.run("TRUNCATE log RESTART IDENTITY");
    db.run("SELECT wf_start('flow', '{\"times\": 9, \"retry\": {\"max_attempts\": 2, \"first_delay\": \"10 ms\"}}', id => 'two')");
    for _ in 0..2 {
        let pid = db.in_step("two", "halves");
        db.run(&format!("SELECT pg_terminate_backend({pid})"));
        eventually(SOON, "the process is gone", || !is_alive(pid));
    }
    let failure = db.failure("two");
    assert_eq!(failure.sqlstate, "WF007", "{failure:?}");
    assert_eq!(log(&mut db), "before begin begin");
}

#[test]
fn a_cancel_interrupts_it() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(HALVES);
    db.run(&format!("SELECT wf_start('flow', '{QUICK}', id => 'f')"));
    let pid = db.in_step("f", "halves");
    let begun = Instant::now();
    db.run("SELECT wf_cancel('f')");
    assert_eq!(db.failure("f").sqlstate, "WF002");
    assert!(begun.elapsed() < Duration::from_secs(10));
    eventually(SOON, "the command has ended", || {
        db.count(&format!("pg_stat_activity WHERE pid = {pid} AND state = 'active'")) == 0
    });
    assert_eq!(log(&mut db), "before begin");
    eventually(SOON, "nothing is left of it", || db.count("wf_internal.commands") == 0);
    assert_eq!(db.one::<String>("SELECT status FROM wf_internal.branches"), "cancelled");
    // The executor lives on.
    assert!(is_alive(pid));
    // One that comes before the command does not let it begin.
    db.run("BEGIN; SELECT wf_start('flow', '{}', id => 'g'); SELECT wf_cancel('g'); COMMIT");
    assert_eq!(db.failure("g").sqlstate, "WF002");
    assert_eq!(log(&mut db), "before begin");
}

#[test]
fn a_wait_for_a_lock_is_ended_by_its_timeout() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE TABLE held (id int);
         CREATE FUNCTION index_it() RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             RETURN wf_step('index', 'CREATE INDEX CONCURRENTLY ON held (id)', timeout => '300 ms', transactional => false);
         END $$",
    );
    let mut other = cluster.admin();
    other.run("BEGIN; INSERT INTO held VALUES (1)");
    db.run("SELECT wf_start('index_it', id => 'i')");
    let failure = db.failure("i");
    assert_eq!(failure.sqlstate, "WF004", "{failure:?}");
    other.run("COMMIT");
}

/// A process that goes on although its run has ended still has the step to itself.
#[test]
fn two_processes_never_run_it_at_once() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE TABLE log (id bigserial, what text);
         CREATE PROCEDURE stubborn() LANGUAGE plpgsql AS $$
         DECLARE again bool := EXISTS (SELECT FROM log);
         BEGIN
             INSERT INTO log (what) VALUES ('begin');
             COMMIT;
             IF NOT again THEN
                 BEGIN
                     PERFORM pg_sleep(60);
                 EXCEPTION WHEN query_canceled THEN
                     PERFORM pg_sleep(2);
                 END;
             END IF;
             INSERT INTO log (what) VALUES ('end');
         END $$;
         CREATE FUNCTION flow() RETURNS text LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_step('stubborn', 'stubborn', transactional => false);
             RETURN 'done';
         END $$",
    );
    db.run("SELECT wf_start('flow', id => 'f', timeout => '4 s')");
    db.in_step("f", "stubborn");
    assert_eq!(db.failure("f").sqlstate, "WF003");
    db.run("SELECT wf_retry('f')");
    assert_eq!(db.result("f"), json!("done"));
    assert_eq!(log(&mut db), "begin end begin end");
}

#[test]
fn it_runs_as_the_owner_with_nothing_behind() {
    let cluster = Cluster::new();
    let mut admin = cluster.admin();
    admin.run(
        "CREATE ROLE ann LOGIN; CREATE ROLE bob; CREATE TABLE secret (x int); INSERT INTO secret VALUES (1);
         CREATE SCHEMA ann AUTHORIZATION ann",
    );
    let mut ann = cluster.connect("postgres", "ann");
    ann.run(
        "CREATE FUNCTION ann.flow(sql text) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('command', sql, transactional => false); END $$",
    );
    let mut start = |id: &str, sql: &str| {
        ann.run(&format!(
            "SELECT wf_start('ann.flow', jsonb_build_object('sql', $sql${sql}$sql$), id => '{id}')"
        ));
    };
    start(
        "who",
        "SELECT current_user::text || ' ' || session_user || ' ' || current_setting('is_superuser')",
    );
    let attempts = [
        "SET SESSION AUTHORIZATION postgres",
        "SET ROLE bob",
        "RESET ROLE; SELECT * FROM public.secret",
        "RESET SESSION AUTHORIZATION; SELECT * FROM public.secret",
        "DISCARD ALL; SELECT * FROM public.secret",
        "BEGIN; COMMIT; SELECT * FROM public.secret",
        "SELECT * FROM wf_internal.runs",
        "ALTER SYSTEM SET work_mem = '5MB'",
        "COPY (SELECT 1) TO '/tmp/pgwf-nobody'",
    ];
    for (i, sql) in attempts.iter().enumerate() {
        start(&format!("try-{i}"), sql);
    }
    assert_eq!(admin.result("who"), json!(["ann ann off"]));
    for (i, sql) in attempts.iter().enumerate() {
        let failure = admin.failure(&format!("try-{i}"));
        let refused = failure.sqlstate == "42501" || failure.sqlstate == "25001";
        assert!(refused, "{sql}: {failure:?}");
    }
}

#[test]
fn where_no_worker_runs_it_says_so() {
    let cluster = Cluster::bare(&[]);
    let mut db = cluster.admin();
    db.run(
        "CREATE EXTENSION pg_workflow;
         CREATE FUNCTION flow() RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('vacuum', 'VACUUM', transactional => false); END $$;
         SELECT wf_start('flow', id => 'f')",
    );
    db.run("CALL wf_run_pending()");
    let failure = db.failure("f");
    assert_eq!(failure.sqlstate, "0A000", "{failure:?}");
    assert!(failure.hint.contains("shared_preload_libraries"), "{failure:?}");
}

#[test]
fn a_paused_instance_does_not_begin_it() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(HALVES);
    db.run("SELECT wf_pause(workflow => 'flow')");
    db.run("SELECT wf_start('flow', '{\"times\": 0}', id => 'f')");
    db.run("SELECT wf_resume(workflow => 'flow')");
    assert_eq!(db.result("f"), json!(["after"]));
    // While it is between two attempts.
    db.run("TRUNCATE log RESTART IDENTITY");
    db.run(&format!("SELECT wf_start('flow', '{QUICK}', id => 'g')"));
    let pid = db.in_step("g", "halves");
    db.run("SELECT wf_pause('g')");
    db.run(&format!("SELECT pg_terminate_backend({pid})"));
    eventually(SOON, "its hint is parked", || db.count("wf_internal.parked") == 1);
    assert_eq!(log(&mut db), "before begin");
    db.run("SELECT wf_resume('g')");
    assert_eq!(db.result("g"), json!(["after"]));
    assert_eq!(log(&mut db), "before begin begin end after");
}

#[test]
fn a_copy_and_a_promoted_standby_know_that_its_process_is_not_theirs() {
    let cluster = Cluster::new();
    let mut source = cluster.database("source");
    source.run(HALVES);
    source.run(&format!("SELECT wf_start('flow', '{QUICK}', id => 'f')"));
    source.in_step("f", "halves");
    let standby = cluster.standby();
    let dump = cluster.socket().join("dump.sql");
    let program = |name: &str| {
        let mut command = program(name);
        command.arg("-h").arg(cluster.socket()).args(["-U", "postgres"]);
        command
    };
    check(program("pg_dump").args(["-d", "source", "-f"]).arg(&dump));
    cluster.admin().run("CREATE DATABASE target");
    let mut psql = program("psql");
    check(
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "target", "-f"])
            .arg(&dump),
    );

    // In the same server, where the process of the original goes on.
    let mut target = cluster.connect("target", "postgres");
    throughout(Duration::from_secs(1), "the copy waits to be adopted", || {
        target.one::<String>("SELECT status FROM wf.branches") == "running"
    });
    target.run("SELECT wf_adopt()");
    assert_eq!(target.result("f"), json!(["after"]));
    assert_eq!(log(&mut target), "before begin begin end after");
    assert_eq!(log(&mut source), "before begin");

    let mut copy = standby.connect("source", "postgres");
    drop((source, target));
    cluster.kill9();
    assert_eq!(copy.one::<String>("SELECT status FROM wf.branches"), "running");
    assert!(copy.one::<bool>("SELECT pg_promote()"));
    assert_eq!(copy.result("f"), json!(["after"]));
    assert_eq!(log(&mut copy), "before begin begin end after");
}

#[test]
fn nothing_of_its_session_stays() {
    // One process for all of it.
    let cluster = Cluster::with(&["pg_workflow.max_executors = 1"]);
    let mut db = cluster.admin();
    db.run(
        "CREATE ROLE bob;
         CREATE TABLE seen (pid int DEFAULT pg_backend_pid(), what text);
         CREATE FUNCTION look() RETURNS void LANGUAGE sql AS $$
             INSERT INTO seen (what) SELECT concat_ws(' ', current_user, session_user, current_setting('role'),
                 current_setting('work_mem'), current_setting('search_path'), current_setting('default_transaction_read_only'),
                 to_regclass('pg_temp.left_over'),
                 (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors),
                 (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'))
         $$;
         CREATE FUNCTION flow() RETURNS text LANGUAGE plpgsql AS $$
         DECLARE leaves text[] := ARRAY[
             'SET work_mem = ''1234 kB''', 'SET search_path = nowhere', 'SET ROLE bob', 'SET SESSION AUTHORIZATION bob',
             'SET default_transaction_read_only = on', 'CREATE TEMP TABLE left_over ()', 'PREPARE p AS SELECT 1',
             'DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'SELECT pg_advisory_lock(4711)',
             'SET ROLE bob; SELECT 1 / 0', 'SET SESSION AUTHORIZATION bob; COMMIT; SELECT 1 / 0'];
         BEGIN
             PERFORM wf_step('look', 'look');
             FOR i IN 1..cardinality(leaves) LOOP
                 BEGIN
                     PERFORM wf_step('leave', leaves[i], transactional => false);
                 EXCEPTION WHEN division_by_zero THEN
                     NULL;
                 END;
                 PERFORM wf_step('look', 'look');
             END LOOP;
             RETURN 'done';
         END $$;
         SELECT wf_start('flow', id => 'f')",
    );
    assert_eq!(db.result("f"), json!("done"));
    assert_eq!(db.count("seen"), 12);
    let seen = db.all::<String>("SELECT DISTINCT what FROM seen");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(db.count("(SELECT DISTINCT pid FROM seen) s"), 1);
}
