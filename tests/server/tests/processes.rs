//! Promises 3 and 7, and good manners of processes: they come back, stop when told, make room, show what they do, and
//! sleep when there is nothing to do.

use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

const NAPS: &str = "
    CREATE TABLE naps (id text, pid int);
    CREATE FUNCTION naps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('before', 'INSERT INTO naps VALUES ($1->>''id'', 0)', input);
        PERFORM wf_step('nap', 'INSERT INTO naps VALUES ($1->>''id'', pg_backend_pid()); SELECT pg_sleep(($1->>''s'')::float)', input);
        RETURN '\"slept\"';
    END $$";

const HELLO: &str = "CREATE FUNCTION hello(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_step('greet', 'SELECT ''hello''')->0; END $$";

const WAITS: &str = "CREATE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_wait_signal('go'); END $$";

/// Our processes in all databases.
const OURS: &str = "pg_stat_activity WHERE backend_type LIKE 'pg_workflow %'";

fn start_nap(db: &mut Client, id: &str, seconds: f64) {
    db.run(&format!(
        "SELECT wf_start('naps', '{{\"id\": \"{id}\", \"s\": {seconds}}}', id => '{id}')"
    ));
}

fn hello(db: &mut Client) {
    let id: String = db.one("SELECT wf_start('hello')");
    assert_eq!(db.result(&id), json!("hello"));
}

#[test]
fn several_databases_in_one_cluster() {
    let cluster = Cluster::new();
    let names = ["one", "two", "three"];
    let mut clients: Vec<Client> = names.iter().map(|name| cluster.database(name)).collect();
    let mut plain = cluster.admin();
    plain.run("CREATE DATABASE plain");
    for (name, db) in names.iter().zip(&mut clients) {
        db.run(HELLO);
        db.run(&format!(
            "SELECT wf_start('hello', id => 'same'); CREATE TABLE in_{name} ()"
        ));
    }
    for db in &mut clients {
        assert_eq!(db.result("same"), json!("hello"));
        assert_eq!(db.count("wf.workflows"), 1);
        assert_eq!(db.count("wf.workers WHERE kind = 'scheduler'"), 1);
        assert_eq!(db.count("wf.workers WHERE kind = 'executor'"), 1);
        assert_eq!(
            db.count("wf_health() WHERE NOT ok"),
            0,
            "{:?}",
            db.all::<String>("SELECT detail FROM wf_health() WHERE NOT ok")
        );
    }
    assert_eq!(
        plain.count(&format!("{OURS} AND backend_type = 'pg_workflow launcher'")),
        1
    );
    assert_eq!(plain.count(&format!("{OURS} AND datname = 'plain'")), 0);
    // A restart finds them all again, and the one without the extension is left alone.
    drop((clients, plain));
    cluster.restart();
    for name in names {
        let mut db = cluster.connect(name, "postgres");
        hello(&mut db);
    }
    let mut db = cluster.admin();
    eventually(SOON, "no worker in a database without the extension", || {
        db.count(&format!("{OURS} AND datname IN ('plain', 'template1')")) == 0
    });
    assert_eq!(
        db.count(&format!("{OURS} AND backend_type = 'pg_workflow scheduler'")),
        4
    );
}

#[test]
fn workers_show_what_they_do() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(NAPS);
    start_nap(&mut db, "n", 1.5);
    let pid = db.in_step("n", "nap");
    let row = db
        .query_one(
            "SELECT a.query, a.backend_type, a.state, a.usename::text, w.kind, w.workflow, w.id, w.step, w.state, w.role::text
             FROM pg_stat_activity a JOIN wf.workers w USING (pid) WHERE pid = $1",
            &[&pid.cast_signed()],
        )
        .unwrap();
    let texts: Vec<String> = (0..row.len()).map(|i| row.get(i)).collect();
    assert_eq!(
        texts,
        [
            "workflow naps instance n step nap",
            "pg_workflow executor",
            "active",
            "postgres",
            "executor",
            "naps",
            "n",
            "nap",
            "busy",
            "postgres"
        ]
    );
    assert_eq!(db.status("n"), "running");
    assert_eq!(db.result("n"), json!("slept"));
    eventually(SOON, "the executor is idle", || {
        db.count(&format!(
            "wf.workers WHERE pid = {pid} AND state = 'idle' AND id IS NULL"
        )) == 1
    });
}

#[test]
fn a_reload_changes_the_number_of_executors() {
    let cluster = Cluster::with(&["pg_workflow.max_executors = 1"]);
    let mut db = cluster.admin();
    db.run(NAPS);
    let busy = "wf.workers WHERE kind = 'executor' AND step = 'nap'";
    for i in 0..4 {
        start_nap(&mut db, &format!("a-{i}"), 0.4);
    }
    db.in_step("a-0", "nap");
    throughout(Duration::from_millis(800), "one at a time", || db.count(busy) <= 1);
    cluster.configure(&["pg_workflow.max_executors = 3"]);
    db.run("SELECT pg_reload_conf()");
    for i in 0..9 {
        start_nap(&mut db, &format!("b-{i}"), 0.8);
    }
    eventually(SOON, "three at a time", || db.count(busy) == 3);
    throughout(Duration::from_millis(500), "not more than three", || {
        db.count(busy) <= 3
    });
    eventually(SOON, "all end", || {
        db.count("wf.workflows WHERE status = 'completed'") == 13
    });
    assert_eq!(db.count("naps"), 26);
}

#[test]
fn two_slow_steps_do_not_block_the_others() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(NAPS);
    db.run(HELLO);
    for i in 0..2 {
        start_nap(&mut db, &format!("slow-{i}"), 4.0);
    }
    for i in 0..2 {
        db.in_step(&format!("slow-{i}"), "nap");
    }
    let begun = Instant::now();
    for _ in 0..50 {
        hello(&mut db);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(db.count("wf.workers WHERE step = 'nap'"), 2, "the slow ones still run");
}

#[test]
fn terminated_workers_come_back_and_work_goes_on() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(NAPS);
    db.run(HELLO);
    for (round, kind) in ["executor", "scheduler", "launcher", "executor"]
        .into_iter()
        .enumerate()
    {
        let id = format!("n-{round}");
        start_nap(&mut db, &id, 1.0);
        db.in_step(&id, "nap");
        let these = format!("pg_stat_activity WHERE backend_type = 'pg_workflow {kind}'");
        let before: Vec<i32> = db.all(&format!("SELECT pid FROM {these}"));
        assert!(!before.is_empty(), "{kind}");
        for pid in &before {
            assert!(db.one::<bool>(&format!("SELECT pg_terminate_backend({pid})")));
        }
        eventually(SOON, "they end", || {
            before.iter().all(|pid| !is_alive(pid.cast_unsigned()))
        });
        assert_eq!(db.result(&id), json!("slept"), "{kind}");
        eventually(SOON, &format!("a {kind} is back"), || db.count(&these) >= 1);
        hello(&mut db);
    }
    // A timer needs the scheduler.
    db.run("SELECT wf_start('hello', id => 'later', delay => '100 ms')");
    assert_eq!(db.result("later"), json!("hello"));
    assert_eq!(db.count("naps"), 8);
    assert_eq!(
        db.one::<i64>("SELECT count(*) FROM (SELECT FROM naps GROUP BY id, pid = 0 HAVING count(*) = 1) x"),
        8
    );
    assert_eq!(cluster.logged("PANIC") + cluster.logged("terminated by signal"), 0);
}

#[test]
fn a_fast_shutdown_does_not_wait_for_a_step() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(NAPS);
    // The length of the nap stands in a table, to be short at the second time.
    db.run(
        "CREATE TABLE length (s float); INSERT INTO length VALUES (60);
         CREATE OR REPLACE FUNCTION naps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_step('before', 'INSERT INTO naps VALUES (''n'', 0)');
             PERFORM wf_step('nap', 'INSERT INTO naps VALUES (''n'', pg_backend_pid()); SELECT pg_sleep(s) FROM length');
             RETURN '\"slept\"';
         END $$",
    );
    start_nap(&mut db, "n", 0.0);
    db.in_step("n", "nap");
    db.run("UPDATE length SET s = 0.1");
    let took = cluster.stop(Stop::Fast);
    assert!(took < Duration::from_secs(10), "{took:?}");
    cluster.start();
    let mut db = cluster.admin();
    assert_eq!(
        db.count("naps WHERE pid <> 0"),
        0,
        "the interrupted step has left no effect"
    );
    assert_eq!(db.result("n"), json!("slept"));
    assert_eq!(db.count("naps"), 2);
    assert_eq!(
        db.one::<i32>("SELECT attempt FROM wf.steps WHERE id = 'n' AND name = 'nap'"),
        1,
        "a shutdown is no failure"
    );
    // Idle too.
    assert!(cluster.stop(Stop::Fast) < Duration::from_secs(5));
}

#[test]
fn what_is_done_is_committed_before_a_long_step() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(NAPS);
    // The first instance of a process, of which nothing is known yet, and one after it.
    for id in ["first", "second"] {
        start_nap(&mut db, id, 2.0);
        db.in_step(id, "nap");
        assert_eq!(
            db.count(&format!("naps WHERE id = '{id}'")),
            1,
            "{id}: the step before is done"
        );
        assert_eq!(
            db.all::<String>(&format!("SELECT name FROM wf.steps WHERE id = '{id}'")),
            ["before"]
        );
        assert_eq!(db.result(id), json!("slept"));
    }
}

#[test]
fn a_dead_postmaster_leaves_no_orphan() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(NAPS);
    db.run(WAITS);
    start_nap(&mut db, "n", 1.0);
    db.run("SELECT wf_start('waits', id => 'w')");
    db.waits_for("w", "signal");
    db.in_step("n", "nap");
    let processes = cluster.processes();
    let ours: Vec<i32> = db.all(&format!("SELECT pid FROM {OURS}"));
    assert!(ours.len() >= 3);
    drop(db);
    cluster.kill_postmaster();
    // The one in the step notices when it has slept; the others at once.
    eventually(Duration::from_secs(10), "all are gone", || {
        processes.iter().all(|pid| !is_alive(*pid))
    });
    cluster.start();
    let mut db = cluster.admin();
    db.run("SELECT wf_signal('w', 'go', '1')");
    assert_eq!(db.result("w"), json!(1));
    assert_eq!(db.result("n"), json!("slept"));
    assert_eq!(db.count("naps"), 2);
}

#[test]
fn databases_are_dropped_renamed_and_copied_under_our_workers() {
    let cluster = Cluster::new();
    let mut admin = cluster.admin();
    {
        let mut db = cluster.database("doomed");
        db.run(NAPS);
        start_nap(&mut db, "n", 60.0);
        db.in_step("n", "nap");
    }
    // Sessions of clients need a moment to go, and DROP DATABASE itself waits 5 s for them.
    let begun = Instant::now();
    admin.run("DROP DATABASE doomed");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(admin.count(&format!("{OURS} AND datname = 'doomed'")), 0);

    {
        let mut db = cluster.database("named");
        db.run(NAPS);
        db.run(WAITS);
        db.run("SELECT wf_start('waits', id => 'w')");
        db.waits_for("w", "signal");
    }
    eventually(SOON, "the client is gone", || {
        admin.count("pg_stat_activity WHERE datname = 'named' AND backend_type = 'client backend'") == 0
    });
    admin.run("ALTER DATABASE named RENAME TO renamed");
    let mut db = cluster.connect("renamed", "postgres");
    db.run("SELECT wf_signal('w', 'go', '1')");
    assert_eq!(db.result("w"), json!(1));
    start_nap(&mut db, "n", 0.1);
    assert_eq!(db.result("n"), json!("slept"));
    db.run("SELECT wf_start('waits', id => 'w2')");
    db.waits_for("w2", "signal");
    drop(db);
    eventually(SOON, "the client is gone", || {
        admin.count("pg_stat_activity WHERE datname = 'renamed' AND backend_type = 'client backend'") == 0
    });

    admin.run("CREATE DATABASE copy TEMPLATE renamed");
    // The original goes on; the copy is one and knows it.
    let (mut original, mut copy) = (
        cluster.connect("renamed", "postgres"),
        cluster.connect("copy", "postgres"),
    );
    copy.run("SELECT wf_signal('w2', 'go', '\"in the copy\"')");
    original.run("SELECT wf_signal('w2', 'go', '\"in the original\"')");
    assert_eq!(original.result("w2"), json!("in the original"));
    throughout(Duration::from_secs(1), "the copy stays as it is", || {
        copy.status("w2") == "waiting"
    });
    assert_eq!(
        copy.all::<String>("SELECT item FROM wf_health() WHERE NOT ok AND hint LIKE '%wf_adopt()%'"),
        ["home"]
    );
    copy.run("SELECT wf_adopt()");
    assert_eq!(copy.result("w2"), json!("in the copy"));
    assert_eq!(copy.count("wf_health() WHERE NOT ok"), 0);
    // A failed command leaves the workers there, or brings them back.
    drop(copy);
    let failure = admin.fails("DROP DATABASE renamed");
    assert_eq!(failure.sqlstate, "55006", "a client is connected: {failure:?}");
    start_nap(&mut original, "n2", 0.1);
    assert_eq!(original.result("n2"), json!("slept"));
}

#[test]
fn the_extension_is_dropped_under_its_workers_and_made_again() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(NAPS);
    db.run(WAITS);
    db.run(HELLO);
    for round in 0..3 {
        db.run("SELECT wf_start('waits', id => 'w')");
        db.waits_for("w", "signal");
        // Not within a step: that one holds its tables, as any running statement does.
        hello(&mut db);
        db.run("DROP EXTENSION pg_workflow");
        eventually(SOON, "no worker is left", || {
            db.count(&format!("{OURS} AND datname = 'postgres'")) == 0
        });
        assert_eq!(db.count("pg_namespace WHERE nspname LIKE 'wf%'"), 0, "round {round}");
        db.run("CREATE EXTENSION pg_workflow");
        hello(&mut db);
        assert_eq!(db.count("wf.workflows"), 1);
    }
    // In the middle of a step: it waits for the lock until the step ends, or is told off; either way it works.
    start_nap(&mut db, "n", 2.0);
    db.in_step("n", "nap");
    let begun = Instant::now();
    db.run("DROP EXTENSION pg_workflow");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    eventually(SOON, "no worker is left", || {
        db.count(&format!("{OURS} AND datname = 'postgres'")) == 0
    });
    db.run("CREATE EXTENSION pg_workflow");
    hello(&mut db);
    // A drop that is rolled back.
    db.run("BEGIN; DROP EXTENSION pg_workflow; ROLLBACK");
    hello(&mut db);
    db.run("SELECT wf_start('hello', id => 'later', delay => '100 ms')");
    assert_eq!(db.result("later"), json!("hello"));
    assert_eq!(cluster.logged("PANIC") + cluster.logged("terminated by signal"), 0);
}

#[test]
fn without_free_slots_it_says_so_once_and_recovers() {
    // One each for launcher, scheduler and an executor.
    let cluster = Cluster::with(&["max_worker_processes = 3"]);
    let message = "pg_workflow finds no free background worker slot";
    let mut db = cluster.admin();
    db.run(NAPS);
    db.run(HELLO);
    db.run("CREATE ROLE alice LOGIN; GRANT ALL ON naps TO alice");
    let mut alice = cluster.connect("postgres", "alice");
    start_nap(&mut db, "n", 4.0);
    db.in_step("n", "nap");
    assert_eq!(cluster.logged(message), 0);
    alice.run("SELECT wf_start('hello', id => 'a')");
    eventually(SOON, "it says so", || cluster.logged(message) > 0);
    throughout(Duration::from_millis(2500), "alice waits for a slot", || {
        alice.status("a") == "pending"
    });
    assert_eq!(cluster.logged(message), 1);
    assert_eq!(db.result("n"), json!("slept"));
    // The executor of the other role gives way, and back again.
    assert_eq!(alice.result("a"), json!("hello"));
    hello(&mut db);
    hello(&mut alice);
    assert_eq!(db.count(OURS), 3);
}

#[test]
fn idle_means_idle() {
    let cluster = Cluster::with(&["autovacuum = off"]);
    let mut db = cluster.database("quiet");
    db.run(HELLO);
    db.run(WAITS);
    db.run(
        "CREATE FUNCTION sleeps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM wf_sleep('1 hour'); RETURN '1'; END $$;
         SELECT wf_start('waits', id => 'w-' || i) FROM generate_series(1, 50) i;
         SELECT wf_start('sleeps', id => 's-' || i) FROM generate_series(1, 50) i;
         SELECT wf_start('hello', id => 'd', delay => '1 day')",
    );
    hello(&mut db);
    eventually(SOON, "all wait", || {
        db.count("wf.workflows WHERE status = 'waiting'") == 100
    });
    drop(db);
    let mut admin = cluster.admin();
    let mut transactions = || -> i64 {
        admin.one("SELECT (xact_commit + xact_rollback)::int8 FROM pg_stat_database WHERE datname = 'quiet'")
    };
    // Counters arrive when a process goes idle.
    let (mut last, mut since) = (transactions(), Instant::now());
    eventually(SOON, "it comes to rest", || {
        let now = transactions();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_secs(1)
    });
    let switches = |pid: &i32| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let numbers = text
            .lines()
            .filter(|line| line.contains("ctxt_switches"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        numbers.sum()
    };
    let pids: Vec<i32> = cluster.admin().all(&format!("SELECT pid FROM {OURS}"));
    assert!(pids.len() >= 4, "{pids:?}");
    let before: Vec<u64> = pids.iter().map(switches).collect();
    std::thread::sleep(Duration::from_secs(5));
    let after: Vec<u64> = pids.iter().map(switches).collect();
    assert_eq!(transactions() - last, 0, "transactions in 5 s");
    // Not even a wake-up that looks at nothing.
    assert_eq!(before, after, "context switches of {pids:?} in 5 s");
}

#[test]
fn without_preloading_it_is_driven_by_hand() {
    let cluster = Cluster::bare(&["max_prepared_transactions = 2"]);
    let mut db = cluster.admin();
    db.run("CREATE EXTENSION pg_workflow");
    db.run(HELLO);
    db.run(WAITS);
    db.run("CREATE TABLE t (i int)");
    assert!(!db.one::<bool>("SELECT ok FROM wf_health() WHERE item = 'library preloaded'"));
    let hint: String = db.one("SELECT hint FROM wf_health() WHERE item = 'library preloaded'");
    assert!(
        hint.contains("shared_preload_libraries") && hint.contains("wf_run_pending()"),
        "{hint}"
    );
    assert_eq!(db.count("wf.workers"), 0);
    assert_eq!(db.count(OURS), 0);

    db.run("SELECT wf_start('hello', id => 'h'); SELECT wf_start('waits', id => 'w')");
    assert_eq!(db.status("h"), "pending");
    db.run("CALL wf_run_pending()");
    assert_eq!(db.result("h"), json!("hello"));
    assert_eq!(db.status("w"), "waiting");
    db.run("CALL wf_run_pending()");
    assert_eq!(db.status("w"), "waiting");

    // In a transaction block: all of it, or nothing.
    db.run(
        "CREATE FUNCTION writes(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_step('a', 'INSERT INTO t VALUES (1)');
             BEGIN PERFORM wf_step('bad', 'INSERT INTO t VALUES (9); SELECT 1/0'); EXCEPTION WHEN division_by_zero THEN NULL; END;
             PERFORM wf_step('slow', 'SELECT pg_sleep(0.2)');
             RETURN wf_step('b', 'INSERT INTO t VALUES (2)');
         END $$",
    );
    for (end, status, rows) in [("ROLLBACK", None, 0), ("COMMIT", Some("completed"), 2)] {
        db.run("BEGIN");
        db.run("SELECT wf_start('writes', id => 'in a block')");
        db.run("CALL wf_run_pending()");
        assert_eq!(db.result("in a block"), json!(1));
        assert_eq!(db.count("t"), 2);
        db.run(end);
        assert_eq!(db.count("t"), rows);
        let found: Vec<String> = db.all("SELECT status FROM wf.workflows WHERE id = 'in a block'");
        assert_eq!(found, status.into_iter().collect::<Vec<_>>());
    }
    db.run("BEGIN; SELECT wf_signal('w', 'go', '1'); CALL wf_run_pending(); ROLLBACK");
    assert_eq!(db.status("w"), "waiting");
    db.run("SELECT wf_signal('w', 'go', '2'); CALL wf_run_pending()");
    assert_eq!(db.result("w"), json!(2));
    assert_eq!(db.fails("SELECT wf_result('nobody')").sqlstate, "42704");
    // Loading it later into a server full of state.
    db.run("SELECT wf_start('hello', id => 'last')");
    drop(db);
    cluster.configure(&["shared_preload_libraries = 'pg_workflow'"]);
    cluster.restart();
    let mut db = cluster.admin();
    assert_eq!(db.result("last"), json!("hello"));
    assert_eq!(db.count("wf_health() WHERE NOT ok"), 0);
}

#[test]
fn a_cancelled_database_command_gives_the_workers_back() {
    let cluster = Cluster::new();
    let mut admin = cluster.admin();
    let mut db = cluster.database("kept");
    db.run(HELLO);
    // A step that swallows its cancels keeps the command waiting until the user has had enough of it.
    db.run(
        "CREATE FUNCTION stubborn() RETURNS void LANGUAGE plpgsql AS $$
         BEGIN
             FOR i IN 1..400 LOOP
                 BEGIN PERFORM pg_sleep(0.1); EXCEPTION WHEN query_canceled THEN NULL; END;
             END LOOP;
         END $$;
         CREATE FUNCTION holds(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('hold', 'stubborn'); END $$;
         SELECT wf_start('holds', id => 'h')",
    );
    db.in_step("h", "hold");
    drop(db);
    admin.run("SET statement_timeout = '1 s'");
    assert_eq!(admin.fails("DROP DATABASE kept").sqlstate, "57014");
    let mut db = cluster.connect("kept", "postgres");
    hello(&mut db);
}
