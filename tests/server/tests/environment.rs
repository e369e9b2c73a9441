//! A server in trouble that is not the workflows' fault: what docs/operating.md says of each case.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use pg_workflow_server_tests::*;

const SCHEMA: &str = "
    CREATE TABLE mine (i int, by text DEFAULT current_user);
    CREATE FUNCTION writes(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('write', 'INSERT INTO mine VALUES (($1->>''i'')::int)', input, timeout => (input->>'timeout')::interval);
        RETURN '1';
    END $$;
    CREATE FUNCTION insists(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('write', 'INSERT INTO mine VALUES (($1->>''i'')::int)', input,
                        retry => '{\"max_attempts\": 0, \"first_delay\": \"1 s\", \"backoff\": 1}');
        RETURN '1';
    END $$;
    CREATE FUNCTION hello(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_step('greet', 'SELECT ''hello''')->0; END $$;";

/// Puts /dev/full, which takes no byte, in the place of an empty table's file. Returns the file, and where it is kept meanwhile.
fn fill_disk_of(cluster: &Cluster, path: &str) -> (PathBuf, PathBuf) {
    let file = cluster.data().join(path);
    let kept = file.with_extension("kept");
    fs::rename(&file, &kept).expect("the table's file");
    std::os::unix::fs::symlink("/dev/full", &file).expect("a link");
    (file, kept)
}

fn put_back((file, kept): (PathBuf, PathBuf)) {
    fs::rename(kept, file).expect("put back");
}

#[test]
fn a_full_disk_fails_no_instance() {
    let cluster = Cluster::with(&["pg_workflow.max_executors = 1"]);
    let mut db = cluster.admin();
    db.run(SCHEMA);
    let path = |db: &mut Client, table: &str| db.one::<String>(&format!("SELECT pg_relation_filepath('{table}')"));
    let (steps, mine) = (path(&mut db, "wf_internal.steps"), path(&mut db, "mine"));
    drop(db);

    // The engine's own table: nothing can be recorded. No instance is to blame.
    cluster.stop(Stop::Fast);
    let full = fill_disk_of(&cluster, &steps);
    cluster.start();
    let mut db = cluster.admin();
    db.run("SELECT wf_start('insists', jsonb_build_object('i', i), id => 'w' || i) FROM generate_series(1, 3) AS i");
    // More often than an instance would be tried that fails by itself.
    eventually(Duration::from_secs(60), "it is tried", || {
        cluster.logged("No space left on device") >= 7
    });
    assert_eq!(db.count("wf.workflows WHERE status IN ('pending', 'running')"), 3);
    assert_eq!(db.count("mine"), 0);
    drop(db);
    cluster.stop(Stop::Fast);
    put_back(full);
    // The user's table: the step has failed, with an error that is retried.
    let full = fill_disk_of(&cluster, &mine);
    cluster.start();
    let mut db = cluster.admin();
    for id in ["w1", "w2", "w3"] {
        db.waits_for(id, "retry");
    }
    assert_eq!(db.count("wf.steps WHERE status = 'retrying' AND sqlstate = '53100'"), 3);
    db.run("SELECT wf_start('hello', id => 'hello')");
    assert_eq!(db.result("hello"), json!("hello"));
    drop(db);
    cluster.stop(Stop::Fast);
    put_back(full);
    cluster.start();
    let mut db = cluster.admin();
    for id in ["w1", "w2", "w3"] {
        assert_eq!(db.result(id), json!(1), "{id}");
    }
    assert_eq!(db.count("mine"), 3);
    eventually(SOON, "nothing is left", || db.all::<String>(CONSISTENCY).is_empty());
}

#[test]
fn connections_are_used_up() {
    let cluster = Cluster::with(&[
        "max_connections = 12",
        "superuser_reserved_connections = 3",
        "max_wal_senders = 0",
    ]);
    let mut db = cluster.admin();
    db.run("CREATE ROLE bob LOGIN; GRANT CREATE ON SCHEMA public TO bob");
    let mut bob = cluster.connect("postgres", "bob");
    bob.run(SCHEMA);
    bob.run("SELECT wf_start('hello', id => 'a')");
    assert_eq!(bob.result("a"), json!("hello"));
    let mut others = Vec::new();
    let refused = loop {
        match cluster.try_connect("postgres", "bob") {
            Ok(client) => others.push(client),
            Err(error) => break failure_of(&error),
        }
    };
    assert_eq!(refused.sqlstate, "53300");
    // Executors that are there need no connection.
    bob.run("SELECT wf_start('hello', id => 'b')");
    assert_eq!(bob.result("b"), json!("hello"));
    // One that is to come may have to wait for one; it is tried at growing distances.
    db.run("SELECT pg_terminate_backend(pid) FROM wf.workers WHERE kind = 'executor'");
    bob.run("SELECT wf_start('hello', id => 'c')");
    let comes = |bob: &mut Client| bob.status("c") == "completed" || cluster.logged("remaining connection slots") > 0;
    eventually(SOON, "it comes, or is refused", || comes(&mut bob));
    drop(others);
    assert_eq!(bob.result("c"), json!("hello"));
    assert!(cluster.logged("remaining connection slots") < 8);
}

#[test]
fn settings_of_a_role_do_not_stop_its_workflows() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run("CREATE ROLE ann LOGIN; GRANT CREATE ON SCHEMA public TO ann");
    let mut ann = cluster.connect("postgres", "ann");
    ann.run(SCHEMA);
    ann.run(
        "CREATE FUNCTION naps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_step('nap', 'SELECT pg_sleep(0.3)');
             PERFORM wf_sleep('300 ms');
             RETURN wf_step('write', 'INSERT INTO mine VALUES (7)');
         END $$",
    );
    for setting in [
        "statement_timeout = '1ms'",
        "idle_in_transaction_session_timeout = '1ms'",
        "idle_session_timeout = '1ms'",
        "default_transaction_read_only = on",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on",
        "lock_timeout = '50ms'",
    ] {
        db.run(&format!("ALTER ROLE ann SET {setting}"));
    }
    ann.run("SELECT wf_start('naps', id => 'naps')");
    assert_eq!(ann.result("naps"), json!(1));
    // What waits for a lock is governed by the role's lock_timeout: its error is one that is retried.
    db.run("BEGIN; LOCK TABLE mine");
    ann.run("SELECT wf_start('writes', '{\"i\": 8}', id => 'writes')");
    ann.waits_for("writes", "retry");
    assert_eq!(
        ann.one::<String>("SELECT sqlstate FROM wf.steps WHERE id = 'writes'"),
        "55P03"
    );
    db.run("COMMIT");
    assert_eq!(ann.result("writes"), json!(1));
    assert_eq!(db.count("mine WHERE by = 'ann'"), 2);
}

#[test]
fn somebody_else_holds_a_lock() {
    let cluster = Cluster::with(&["deadlock_timeout = 200ms"]);
    let (mut db, mut other) = (cluster.admin(), cluster.admin());
    db.run(SCHEMA);
    other.run("BEGIN; LOCK TABLE mine");
    db.run(
        "SELECT wf_start('writes', '{\"i\": 1}', id => 'waits'), wf_start('writes', '{\"i\": 2}', id => 'cancelled')",
    );
    eventually(SOON, "both are at the lock", || {
        db.count("pg_locks WHERE relation = 'mine'::regclass AND NOT granted") == 2
    });
    // Others of the role have executors of their own.
    db.run("SELECT wf_start('hello', id => 'hello'), wf_start('writes', '{\"i\": 3, \"timeout\": \"300 ms\"}', id => 'limited')");
    assert_eq!(db.result("hello"), json!("hello"));
    assert_eq!(db.failure("limited").sqlstate, "WF004");
    db.run("SELECT wf_cancel('cancelled')");
    assert_eq!(db.failure("cancelled").sqlstate, "WF002");
    assert_eq!(db.status("waits"), "running");
    other.run("COMMIT");
    assert_eq!(db.result("waits"), json!(1));
    assert_eq!(db.all::<i32>("SELECT i FROM mine"), [1]);

    // Each holds what the other wants.
    db.run(
        "CREATE TABLE accounts (id int PRIMARY KEY, balance int); INSERT INTO accounts VALUES (1, 0), (2, 0);
         CREATE FUNCTION crosses() RETURNS void LANGUAGE plpgsql AS $$
         BEGIN
             UPDATE accounts SET balance = balance + 1 WHERE id = 2;
             UPDATE accounts SET balance = balance + 1 WHERE id = 1;
         END $$;
         CREATE FUNCTION transfer(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('cross', 'crosses'); END $$",
    );
    other.run("BEGIN; UPDATE accounts SET balance = balance + 10 WHERE id = 1");
    db.run("SELECT wf_start('transfer', id => 'transfer')");
    eventually(SOON, "the step waits for the session", || {
        db.count(
            "pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.backend_type LIKE 'pg_workflow%'",
        ) > 0
    });
    let session = other.attempt("UPDATE accounts SET balance = balance + 10 WHERE id = 2");
    if let Err(failure) = &session {
        assert_eq!(failure.sqlstate, "40P01");
    }
    other.run("COMMIT");
    assert_eq!(db.result("transfer"), Value::Null);
    let each = if session.is_ok() { 11 } else { 1 };
    assert_eq!(db.all::<i32>("SELECT balance FROM accounts"), [each, each]);
}

/// Of the tests themselves: a server that has found a fault of ours, and has gone on, fails the test that had it do so.
#[test]
#[should_panic(expected = "the server found faults")]
fn a_fault_in_the_log_fails_the_test() {
    let cluster = Cluster::bare(&[]);
    cluster
        .admin()
        .run("DO $$ BEGIN RAISE WARNING 'relcache reference leak: relation \"none\" not closed'; END $$");
}
