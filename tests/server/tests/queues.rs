//! Queues inside of the server: limits that hold at every moment, through crashes; keys of which none starves the others, at a
//! cost that does not grow; roles.

use std::time::Duration;

use pg_workflow_server_tests::*;

/// Work that leaves behind when it was done: a step, and an instance that takes some time.
const FLOWS: &str = r#"
    CREATE TABLE log (what text, who text, began timestamptz, ended timestamptz);
    CREATE FUNCTION work(what text, who text, seconds float8) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE began timestamptz := clock_timestamp();
    BEGIN
        PERFORM pg_sleep(seconds);
        INSERT INTO log VALUES (what, who, began, clock_timestamp());
    END $$;
    CREATE FUNCTION steps(who text, n integer) RETURNS jsonb LANGUAGE plpgsql AS $$
    DECLARE h int[];
    BEGIN
        PERFORM wf_step('alone', 'work', jsonb_build_object('what', 'step', 'who', who || '/0', 'seconds', 0.02), queue => 'q');
        FOR i IN 1..n LOOP
            h[i] := wf_begin('beside', 'work', jsonb_build_object('what', 'step', 'who', who || '/' || i, 'seconds', 0.02),
                             queue => 'q', key => who, retry => '{"max_attempts": 0, "first_delay": "10 ms"}');
        END LOOP;
        PERFORM wf_await(h);
        RETURN '"done"';
    END $$;
    CREATE FUNCTION run(who text) RETURNS jsonb LANGUAGE plpgsql AS $$
    DECLARE began jsonb;
    BEGIN
        began := wf_step('begin', 'SELECT clock_timestamp()');
        PERFORM wf_sleep('30 ms');
        PERFORM wf_step('end', $s$ INSERT INTO log VALUES ('run', $1->>'who', ($1->>'began')::timestamptz, clock_timestamp()) $s$,
                        jsonb_build_object('who', who, 'began', began->0));
        RETURN '"done"';
    END $$"#;

/// How many of the work in the log was done at a time, at most.
const AT_A_TIME: &str = "SELECT max(n)::bigint FROM (SELECT (SELECT count(*) FROM log b WHERE b.began <= a.began AND a.began < b.ended) AS n
                         FROM log a) AS t";

fn queue(db: &mut Client, column: &str, name: &str) -> i64 {
    db.one(&format!(
        "SELECT coalesce(sum({column}), 0)::bigint FROM wf.queues WHERE name = '{name}'"
    ))
}

#[test]
fn limits_hold_through_crashes_and_nothing_is_lost() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.run("SELECT wf_queue('q', max_running => 3)");
    db.run("SELECT count(wf_start('steps', jsonb_build_object('who', 's' || i, 'n', 12), id => 's' || i)) FROM generate_series(1, 8) i");
    db.run("SELECT count(wf_start('run', jsonb_build_object('who', 'r' || i), id => 'r' || i, queue => 'q', key => 'runs'))
            FROM generate_series(1, 60) i");
    let mut random = Random::new();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(300 + random.below(400)));
        cluster.kill9();
        cluster.start();
        db = cluster.admin();
    }
    let open = "wf.workflows WHERE finished_at IS NULL";
    eventually(Duration::from_secs(60), "all is done", || db.count(open) == 0);
    assert_eq!(db.count("wf.workflows WHERE status <> 'completed'"), 0);
    assert_eq!(db.count("log WHERE what = 'step'"), 8 * 13);
    assert_eq!(db.count("log WHERE what = 'run'"), 60);
    assert_eq!(
        db.one::<i64>("SELECT count(DISTINCT (what, who)) FROM log"),
        8 * 13 + 60
    );
    let most: i64 = db.one(AT_A_TIME);
    assert!((2..=3).contains(&most), "{most} at a time");
    assert_eq!((queue(&mut db, "waiting", "q"), queue(&mut db, "running", "q")), (0, 0));
    assert_eq!(db.count("wf_internal.task_queue"), 0);
}

#[test]
fn an_end_wakes_who_waits_and_nothing_runs_meanwhile() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run("CREATE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('go'); END $$");
    db.run("SELECT wf_queue('q', max_running => 1)");
    for id in ["a", "b"] {
        db.run(&format!("SELECT wf_start('flow', id => '{id}', queue => 'q')"));
    }
    eventually(SOON, "the first one waits", || db.status("a") == "waiting");
    assert_eq!(
        db.one::<String>("SELECT waiting_for FROM wf.workflows WHERE id = 'b'"),
        "queue \"q\""
    );
    let mut watcher = cluster.database("watcher");
    let mut transactions = || -> i64 {
        watcher.one("SELECT (xact_commit + xact_rollback)::int8 FROM pg_stat_database WHERE datname = 'postgres'")
    };
    // Counters arrive when a process goes idle.
    std::thread::sleep(Duration::from_millis(1500));
    let before = transactions();
    throughout(Duration::from_secs(3), "nothing runs", || transactions() == before);
    // It ends in a transaction that stays open: its place is taken by nobody yet.
    db.run("BEGIN; SELECT wf_signal('a', 'go')");
    let mut other = cluster.admin();
    throughout(Duration::from_millis(500), "it has not ended", || {
        other.status("b") == "pending"
    });
    db.run("COMMIT");
    assert_eq!(db.result("a"), Value::Null);
    eventually(SOON, "the second one has its turn", || db.status("b") == "waiting");
}

#[test]
fn tasks_steps_and_instances_share_a_limit() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.run(
        "CREATE FUNCTION one(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_task('it', 'q'); END $$",
    );
    db.run("SELECT wf_queue('q', max_running => 1); SELECT wf_start('one', id => 't')");
    eventually(SOON, "a task waits", || queue(&mut db, "waiting", "q") == 1);
    let token: String = db.one("SELECT task FROM wf_poll('q')");
    db.run("SELECT wf_start('run', '{\"who\": \"r\"}', id => 'r', queue => 'q')");
    throughout(Duration::from_millis(500), "it waits for the task", || {
        db.status("r") == "pending"
    });
    // The end of a task wakes an executor.
    db.run(&format!("SELECT wf_complete('{token}', '1')"));
    assert_eq!(db.result("r"), json!("done"));
    // The end of an instance wakes a worker.
    db.run("SELECT wf_start('run', '{\"who\": \"r2\"}', id => 'r2', queue => 'q'); SELECT wf_start('one', id => 't2')");
    let tasks: Value = db.one("CALL wf_poll('q', '20 s', NULL)");
    assert_eq!(tasks.as_array().unwrap().len(), 1);
    assert_eq!(db.status("r2"), "completed");
    // A task that ends in a transaction which was open before anything waited inside.
    let token = tasks[0]["task"].as_str().unwrap().to_owned();
    let mut worker = cluster.admin();
    worker.run(&format!("BEGIN; SELECT wf_complete('{token}', '1')"));
    db.run("SELECT wf_start('run', '{\"who\": \"r3\"}', id => 'r3', queue => 'q')");
    throughout(Duration::from_millis(500), "it waits for the task", || {
        db.status("r3") == "pending"
    });
    worker.run("COMMIT");
    assert_eq!(db.result("r3"), json!("done"));
}

/// Tasks of one key, made of the one that is there.
fn multiply(db: &mut Client, number: i32) {
    db.run(&format!(
        "CREATE TEMP TABLE t AS SELECT * FROM wf_internal.tasks;
         CREATE TEMP TABLE s AS SELECT * FROM wf_internal.steps WHERE kind = 'task';
         CREATE TEMP TABLE q AS SELECT * FROM wf_internal.task_queue;
         ALTER TABLE q ALTER seq DROP NOT NULL;
         INSERT INTO wf_internal.steps SELECT (jsonb_populate_record(s, jsonb_build_object('n', i))).* FROM s, generate_series(10, {number}) i;
         WITH queued AS (
             INSERT INTO wf_internal.task_queue (queued_at, run_id, n, item, queue_id, priority, running, inside, key)
             SELECT queued_at, run_id, i, item, queue_id, priority, running, inside, key FROM q, generate_series(10, {number}) i
             RETURNING n, seq)
         INSERT INTO wf_internal.tasks
         SELECT (jsonb_populate_record(t, jsonb_build_object('n', queued.n, 'seq', queued.seq))).* FROM t, queued;
         ANALYZE wf_internal.task_queue"
    ));
}

/// Pages that a claim of some tasks touches, and how many of them are of key `small`.
fn claim(db: &mut Client, number: i32) -> (i64, i64) {
    db.run("BEGIN");
    let plan: Value = db.one(&format!(
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM wf_poll('q', max => {number})"
    ));
    let small: i64 = db.one("SELECT count(*) FROM wf.tasks WHERE status = 'running' AND key = 'small'");
    db.run("ROLLBACK");
    let plan = &plan[0]["Plan"];
    let pages = |kind: &str| plan[kind].as_i64().unwrap();
    (pages("Shared Hit Blocks") + pages("Shared Read Blocks"), small)
}

#[test]
fn one_key_does_not_starve_another_whatever_it_has() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION fan(key text, n integer) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN FOR i IN 1..n LOOP PERFORM wf_begin('t', queue => 'q', key => key); END LOOP; END $$;
         SELECT wf_start('fan', '{\"key\": \"big\", \"n\": 1}')",
    );
    eventually(SOON, "there is one", || queue(&mut db, "waiting", "q") == 1);
    multiply(&mut db, 1_000);
    let before_small = queue(&mut db, "waiting", "q");
    db.run("SELECT wf_start('fan', '{\"key\": \"small\", \"n\": 10}')");
    eventually(SOON, "the others are there", || {
        queue(&mut db, "waiting", "q") == before_small + 10
    });
    // Twice: plans are made, caches are filled.
    claim(&mut db, 20);
    let (few, small) = claim(&mut db, 20);
    assert_eq!(small, 10, "by turns");
    db.run(
        "CREATE TEMP TABLE first AS SELECT t.* FROM wf_internal.tasks t WHERE key = 'big' ORDER BY n LIMIT 1;
         WITH queued AS (
             INSERT INTO wf_internal.task_queue (queued_at, run_id, n, item, queue_id, priority, running, inside, key)
             SELECT f.queued_at, f.run_id, i, 0, f.queue_id, f.priority, false, false, f.key FROM first f, generate_series(2001, 300000) i
             RETURNING n)
         SELECT count(*) FROM queued",
    );
    db.run("VACUUM ANALYZE wf_internal.task_queue");
    claim(&mut db, 20);
    let (many, small) = claim(&mut db, 20);
    assert_eq!(small, 10, "by turns");
    assert!(
        many < few + few / 4,
        "{few} pages with a thousand waiting, {many} with 300 thousand"
    );
}

#[test]
fn a_queue_is_its_roles_own() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; GRANT CREATE ON SCHEMA public TO alice, bob");
    let [mut alice, mut bob] = ["alice", "bob"].map(|role| cluster.connect("postgres", role));
    for (role, who) in [(&mut alice, "a"), (&mut bob, "b")] {
        role.run(&format!(
            "CREATE FUNCTION flow_{who}(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('go'); END $$;
             SELECT wf_queue('q', max_running => 1)"
        ));
        for n in 1..=2 {
            role.run(&format!(
                "SELECT wf_start('flow_{who}', id => '{who}{n}', queue => 'q', dedup => '{n}')"
            ));
        }
    }
    for (role, who) in [(&mut alice, "a"), (&mut bob, "b")] {
        eventually(SOON, "its first one runs", || {
            role.status(&format!("{who}1")) == "waiting"
        });
        assert_eq!(role.status(&format!("{who}2")), "pending");
        assert_eq!(role.count("wf.queues"), 1);
        assert_eq!(
            role.one::<String>("SELECT owner::text FROM wf.queues"),
            if who == "a" { "alice" } else { "bob" }
        );
    }
    // One that has no place yet does not get one of the other's.
    alice.run("SELECT wf_queue('q', max_running => 5)");
    eventually(SOON, "alice's second one runs", || alice.status("a2") == "waiting");
    assert_eq!(bob.status("b2"), "pending");
    bob.run("SELECT wf_signal('b1', 'go')");
    eventually(SOON, "bob's second one runs", || bob.status("b2") == "waiting");
}

#[test]
fn workers_may_listen() {
    use postgres::fallible_iterator::FallibleIterator;

    let cluster = Cluster::new();
    let (mut db, mut listener) = (cluster.admin(), cluster.admin());
    db.run(
        "CREATE FUNCTION asks(queue text) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_task('t', queue, retry => '{\"max_attempts\": 2, \"first_delay\": \"10 ms\"}'); END $$;
         SELECT wf_queue('loud', max_running => 1, notify => true), wf_queue('quiet')",
    );
    listener.run("LISTEN pg_workflow");
    let mut heard = |what: &str| {
        let next = listener.notifications().timeout_iter(SOON).next().unwrap();
        let notification = next.unwrap_or_else(|| panic!("nothing is heard when {what}"));
        assert_eq!(
            (notification.channel(), notification.payload()),
            ("pg_workflow", "loud"),
            "when {what}"
        );
    };
    db.run("SELECT wf_start('asks', '{\"queue\": \"quiet\"}', id => 'q')");
    eventually(SOON, "the quiet task waits", || {
        db.count("wf.tasks WHERE id = 'q'") == 1
    });
    db.run("SELECT wf_start('asks', '{\"queue\": \"loud\"}', id => 'a')");
    heard("a task is put into it");
    let claim = |db: &mut Client| db.one::<String>("SELECT task FROM wf_poll('loud')");
    let task = claim(&mut db);
    db.run(&format!("SELECT wf_fail('{task}', 'once more')"));
    heard("the task gives its place back");
    heard("it is to be done again");
    let task = claim(&mut db);
    db.run(&format!("SELECT wf_complete('{task}', '1')"));
    heard("it is done, and another could be claimed");
    db.run("SELECT wf_queue('loud', max_running => 0)");
    heard("its limits change");
    db.run("SELECT wf_queue('loud', notify => false)");
    db.run("SELECT wf_start('asks', '{\"queue\": \"loud\"}', id => 'b')");
    eventually(SOON, "the task waits", || db.count("wf.tasks WHERE id = 'b'") == 1);
    let more = listener.notifications().iter().count().unwrap();
    assert_eq!(more, 0, "more was heard than was said");
}
