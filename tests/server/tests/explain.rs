//! Why does it not move, where the answer lies in other sessions, in the processes or in the server itself; and what is
//! an alert.

use pg_workflow_server_tests::*;

const FLOWS: &str = r#"
    CREATE TABLE stock (item text PRIMARY KEY, units integer);
    INSERT INTO stock VALUES ('book', 10);
    GRANT ALL ON stock TO PUBLIC;
    CREATE FUNCTION takes() RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        RETURN wf_step('take', $s$ UPDATE stock SET units = units - 1 WHERE item = 'book' RETURNING units $s$);
    END $$;
    CREATE FUNCTION locks() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('lock', 'SELECT pg_advisory_xact_lock(7)'); END $$;
    CREATE FUNCTION asks() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('go'); END $$;
    CREATE FUNCTION fails() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('divide', 'SELECT 1 / 0'); END $$;
    CREATE FUNCTION retries() RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        RETURN wf_step('divide', 'SELECT 1 / 0', retry => '{"max_attempts": 9, "first_delay": "1 hour"}');
    END $$;
    CREATE FUNCTION works() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_task('render', 'renderers'); END $$;"#;

/// Codes of the reasons, in order.
fn reasons(db: &mut Client, id: &str) -> Vec<String> {
    db.all(&format!("SELECT reason FROM wf_explain('{id}')"))
}

fn explanation(db: &mut Client, id: &str, reason: &str) -> String {
    let found = db.all(&format!(
        "SELECT explanation || coalesce(' HINT: ' || hint, '') FROM wf_explain('{id}') WHERE reason = '{reason}'"
    ));
    found
        .into_iter()
        .next()
        .unwrap_or_else(|| panic!("{id} {reason}: {:?}", reasons(db, id)))
}

fn explained(db: &mut Client, id: &str, reason: &str) {
    eventually(SOON, &format!("{id}: {reason}"), || {
        reasons(db, id).contains(&reason.to_owned())
    });
}

/// Waits until an instance's step has been blocked for longer than a step is borne with that may turn out to be slow: it then
/// stays where it is.
fn stays_blocked(db: &mut Client, id: &str) {
    eventually(SOON, &format!("{id} is blocked"), || {
        db.one(&format!(
            "SELECT bool_or(reason = 'blocked') AND bool_or(reason = 'running' AND since < clock_timestamp() - interval '300 ms')
             FROM wf_explain('{id}')"
        ))
    });
}

/// What a column of the blocked process says.
fn blocked<T: postgres::types::FromSqlOwned>(db: &mut Client, id: &str, what: &str) -> T {
    db.one(&format!(
        "SELECT {what} FROM wf_explain('{id}') WHERE reason = 'blocked'"
    ))
}

fn alerts(db: &mut Client) -> Vec<String> {
    db.all("SELECT alert FROM wf.alerts")
}

#[test]
fn other_sessions_and_busy_executors() {
    let cluster = Cluster::with(&["pg_workflow.max_executors = 1"]);
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.run("CREATE ROLE bob LOGIN; CREATE ROLE eve LOGIN; GRANT CREATE ON SCHEMA public TO bob, eve");
    let mut bob = cluster.connect("postgres", "bob");
    eventually(SOON, "all is well", || db.count("wf.alerts") == 0);

    // A row that another has locked.
    let mut other = cluster.admin();
    let other_pid: i32 = other.one("SELECT pg_backend_pid()");
    other.run("BEGIN; UPDATE stock SET units = 0 WHERE item = 'book'");
    bob.run("SELECT wf_start('takes', id => 'a')");
    stays_blocked(&mut db, "a");
    assert_eq!(reasons(&mut db, "a"), ["blocked", "running"]);
    assert_eq!(blocked::<Vec<i32>>(&mut db, "a", "blocked_by"), [other_pid]);
    let words = explanation(&mut db, "a", "blocked");
    let expected = format!(
        "step \"take\" waits for a row of public.stock, held by pid {other_pid}; pid {other_pid} is role postgres"
    );
    assert!(words.starts_with(&expected), "{words}");
    assert!(words.contains("idle in transaction"), "{words}");
    assert!(words.contains("UPDATE stock SET units = 0"), "{words}");
    let worker: i32 = db.one("SELECT pid FROM wf.workers WHERE id = 'a'");
    let pids: Vec<i32> = db.all("SELECT pid FROM wf_explain('a')");
    assert_eq!(pids, [worker, worker]);
    let event: String = db.one("SELECT detail->>'wait_event' FROM wf_explain('a') WHERE reason = 'running'");
    assert_eq!(event, "transactionid");
    let waits = "since BETWEEN now() - interval '1 h' AND clock_timestamp()";
    assert!(blocked::<bool>(&mut db, "a", waits));
    // The owner sees that he is blocked, by whom and since when; what the other does is not his to see.
    let words = explanation(&mut bob, "a", "blocked");
    assert!(words.contains("is role postgres"), "{words}");
    assert!(!words.contains("UPDATE") && !words.contains("idle"), "{words}");
    let hidden = "detail->'blockers'->0->'query' = 'null' AND detail->'blockers'->0->'state' = 'null'";
    assert!(blocked::<bool>(&mut bob, "a", hidden));

    // Behind it: the only executor that the role may have is busy.
    bob.run("SELECT wf_start('takes', id => 'b'), wf_start('takes', id => 'c')");
    assert_eq!(reasons(&mut bob, "b"), ["executors_busy"]);
    let words = explanation(&mut bob, "c", "executors_busy");
    assert!(
        words.contains(" before it; the executor of role bob is busy, for "),
        "{words}"
    );
    assert!(words.contains("Raise pg_workflow.max_executors"), "{words}");
    let at: String = bob.one("SELECT detail #>> '{executors,0,instance}' FROM wf_explain('c')");
    assert_eq!(at, "a");

    // The same as alerts, to those whom it concerns.
    let late = "SET pg_workflow.alert_wait = '1 s'; SET pg_workflow.alert_step = '1 s'";
    bob.run(late);
    eventually(SOON, "alerts", || {
        alerts(&mut bob) == ["backlog", "blocked_step", "long_step"]
    });
    let message: String = bob.one("SELECT message FROM wf.alerts WHERE alert = 'backlog'");
    assert!(
        message.starts_with("role bob has ") && message.ends_with("1 of 1 executors are busy"),
        "{message}"
    );
    let threshold: f64 = bob.one("SELECT threshold::float8 FROM wf.alerts WHERE alert = 'long_step'");
    assert_eq!(threshold, 1.0);
    let mut eve = cluster.connect("postgres", "eve");
    eve.run(late);
    assert_eq!(alerts(&mut eve), [""; 0]);
    let snapshot = "wf.load WHERE item = 'snapshot' AND detail LIKE '%step \"take\" of instance \"a\"'";
    assert_eq!(bob.count(snapshot), 1);
    assert_eq!(eve.count(snapshot), 0);
    other.run("ROLLBACK");
    for id in ["a", "b", "c"] {
        db.result(id);
    }
    eventually(SOON, "the alerts are over", || alerts(&mut bob).is_empty());

    // A table, and a lock that has a number only.
    other.run("BEGIN; LOCK TABLE stock");
    bob.run("SELECT wf_start('takes', id => 't')");
    stays_blocked(&mut db, "t");
    let words = explanation(&mut db, "t", "blocked");
    let expected = format!(
        "step \"take\" waits for RowExclusiveLock on public.stock, held by pid {other_pid} (AccessExclusiveLock)"
    );
    assert!(words.starts_with(&expected), "{words}");
    other.run("COMMIT; SELECT pg_advisory_lock(7)");
    db.result("t");
    bob.run("SELECT wf_start('locks', id => 'l')");
    stays_blocked(&mut db, "l");
    let words = explanation(&mut db, "l", "blocked");
    assert!(
        words.contains(&format!("waits for an advisory lock, held by pid {other_pid}")),
        "{words}"
    );
    // By another instance of the same owner, in a session.
    other.run("SELECT pg_advisory_unlock(7)");
    db.result("l");

    // An operator who has it in hand.
    bob.run("SELECT wf_start('asks', id => 'w')");
    bob.waits_for("w", "signal");
    other.run("BEGIN; SELECT wf_complete_step('w', 'go', '1')");
    bob.run("SELECT wf_signal('w', 'go')");
    explained(&mut bob, "w", "locked");
    assert_eq!(
        bob.one::<Vec<i32>>("SELECT blocked_by FROM wf_explain('w') WHERE reason = 'locked'"),
        [other_pid]
    );
    other.run("ROLLBACK");
    bob.result("w");

    // An executor that has it in hand, and is at another one first.
    db.run(
        "CREATE FUNCTION holds() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN
             RETURN wf_step('hold', $s$ WITH held AS MATERIALIZED (SELECT FROM wf_internal.runs WHERE id = 'held' FOR UPDATE)
                                        SELECT pg_advisory_xact_lock(8)::text FROM held $s$);
         END $$;
         SELECT wf_start('asks', id => 'held')",
    );
    db.waits_for("held", "signal");
    other.run("SELECT pg_advisory_lock(8)");
    db.run("SELECT wf_start('holds', id => 'holds')");
    stays_blocked(&mut db, "holds");
    db.run("SELECT wf_signal('held', 'go')");
    explained(&mut db, "held", "claimed");
    let words = explanation(&mut db, "held", "claimed");
    assert!(
        words.ends_with("which is at another instance of the same transaction: \"holds\""),
        "{words}"
    );
    other.run("SELECT pg_advisory_unlock(8)");
    db.result("held");

    // A role that may not connect any more.
    drop(eve);
    db.run("BEGIN; SET LOCAL ROLE eve; SELECT wf_start('asks', id => 'e'); RESET ROLE; ALTER ROLE eve NOLOGIN; COMMIT");
    explained(&mut db, "e", "no_executor");
    let words = explanation(&mut db, "e", "no_executor");
    assert!(
        words.contains("role eve has no executor") && words.contains("ALTER ROLE eve LOGIN"),
        "{words}"
    );
    db.run("UPDATE wf_internal.runs SET created_at = now() - interval '1 h' WHERE id = 'e'");
    assert_eq!(alerts(&mut db), ["no_executor"]);
    let load: i64 = db.one("SELECT value::int8 FROM wf.load WHERE item = 'wal'");
    assert!(load > 0);
    let items: Vec<String> = db.all("SELECT DISTINCT item FROM wf.load WHERE item <> 'snapshot' ORDER BY 1");
    assert_eq!(
        items,
        ["dead rows", "index size", "processes", "rows", "table size", "wal"]
    );
}

#[test]
fn nothing_runs_in_a_copy_on_a_standby_and_between_two_versions() {
    let cluster = Cluster::new();
    let mut db = cluster.database("original");
    db.run(FLOWS);
    db.run("SELECT wf_start('asks', id => 'i')");
    db.waits_for("i", "signal");
    drop(db);
    cluster.admin().run("CREATE DATABASE copy TEMPLATE original");
    let mut copy = cluster.connect("copy", "postgres");
    assert_eq!(reasons(&mut copy, "i"), ["copy", "signal"]);
    assert_eq!(alerts(&mut copy), ["copy"]);

    let standby = cluster.standby();
    let mut db = standby.connect("original", "postgres");
    assert_eq!(reasons(&mut db, "i"), ["standby", "signal"]);
    assert_eq!(alerts(&mut db), [""; 0]);
    drop(standby);

    let mut db = cluster.connect("original", "postgres");
    db.run("UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'pg_workflow'");
    assert_eq!(reasons(&mut db, "i"), ["versions"]);
    assert_eq!(alerts(&mut db), ["versions"]);
    let words = explanation(&mut db, "i", "versions");
    assert!(words.contains("is of version 0.0.1"), "{words}");
}

#[test]
fn nothing_runs_without_processes_and_what_is_late_is_an_alert() {
    let cluster = Cluster::with(&["max_worker_processes = 1", "autovacuum = off"]);
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.run("SELECT wf_start('asks', id => 'i')");
    explained(&mut db, "i", "no_scheduler");
    assert_eq!(reasons(&mut db, "i"), ["no_scheduler", "no_executor"]);
    assert!(alerts(&mut db).contains(&"no_scheduler".to_owned()));
    cluster.configure(&["max_worker_processes = 0"]);
    cluster.restart();
    db = cluster.admin();
    assert_eq!(reasons(&mut db, "i"), ["no_launcher", "no_executor"]);
    assert!(alerts(&mut db).contains(&"no_launcher".to_owned()));
    cluster.configure(&["shared_preload_libraries = ''", "max_worker_processes = 8"]);
    cluster.restart();
    db = cluster.admin();
    assert_eq!(reasons(&mut db, "i"), ["not_preloaded", "no_executor"]);

    // Nobody acts on what is there: all that may be late can be made so.
    db.run(
        "SELECT count(wf_start('fails')) FROM generate_series(1, 5);
         SELECT wf_start('retries');
         SELECT wf_start('works');
         SELECT wf_queue('full', max_running => 1);
         SELECT wf_start('asks', id => 'holds', queue => 'full'), wf_start('asks', id => 'waits', queue => 'full');
         SELECT wf_queue('closed', paused => true);
         SELECT wf_start('asks', queue => 'closed')",
    );
    db.run("CALL wf_run_pending()");
    db.run(
        "SELECT wf_start('asks', id => 'ready'), wf_start('asks', id => 'timer', delay => '1 h'), wf_pause('holds')",
    );
    db.run("SELECT wf_schedule('nightly', '0 3 * * *', sql => 'SELECT 1'), wf_schedule('hourly', '0 * * * *', sql => 'SELECT 1')");
    let found = alerts(&mut db);
    let late = [
        "late_timers",
        "late_schedule",
        "queue_backlog",
        "retention_behind",
        "retrying_step",
        "paused",
    ];
    assert!(found.contains(&"failing_step".to_owned()), "{found:?}");
    assert!(
        !late.iter().any(|alert| found.contains(&(*alert).to_owned())),
        "{found:?}"
    );
    db.run(
        "UPDATE wf_internal.steps SET attempt = 4 WHERE status = 'retrying';
         UPDATE wf_internal.task_queue SET queued_at = now() - interval '1 h';
         UPDATE wf_internal.runs SET created_at = now() - interval '1 h' WHERE id = 'ready';
         UPDATE wf_internal.timers t SET due_at = now() - interval '1 h' FROM wf_internal.runs r WHERE r.run_id = t.run_id AND r.id = 'timer';
         UPDATE wf_internal.pauses SET paused_at = now() - interval '2 days';
         UPDATE wf_internal.schedules SET next_at = now() - interval '1 h', timer_at = now() - interval '1 h' WHERE name = 'nightly';
         UPDATE wf_internal.schedules SET error = '{\"message\": \"no such table\", \"sqlstate\": \"42P01\"}', failed_at = now() WHERE name = 'hourly';
         INSERT INTO wf_internal.sweeps (next_at, removed, last_removed) VALUES (now() - interval '2 h 1 min', 0, 0)
         ON CONFLICT (only_row) DO UPDATE SET next_at = excluded.next_at",
    );
    let mut writer = cluster.admin();
    writer.run(
        "INSERT INTO wf_internal.parked SELECT g, gen_random_uuid(), 0, 0, 'postgres', 0 FROM generate_series(1, 120000) g;
         DELETE FROM wf_internal.parked",
    );
    drop(writer);
    let all = [
        "late_timers",
        "no_executor",
        "not_preloaded",
        "failing_schedule",
        "failing_step",
        "late_schedule",
        "no_task_worker",
        "queue_backlog",
        "retention_behind",
        "retrying_step",
        "vacuum_behind",
        "paused",
        "queue_paused",
    ];
    eventually(SOON, "every alert", || alerts(&mut db) == all);
    for expected in [
        "timers overdue: 1, the oldest by 60 min",
        "role postgres has 1 ready and no executor",
        "schedule \"nightly\" was due 60 min ago and has started nothing",
        "schedule \"hourly\" could not start what was due: no such table (SQLSTATE 42P01)",
        "5 instances of workflow \"fails\" have failed within 1 h at \"divide\" with SQLSTATE 22012: division by zero",
        "step \"divide\" of workflow \"retries\" is to be tried again (instances: 1, attempts so far: up to 4) after SQLSTATE 22012: division by zero",
        "queue \"full\" has 1 waiting, the oldest since 60 min, and 1 running",
        "the removal of finished instances is behind by 2 h",
        "instance \"holds\" is paused since 2 days, by postgres; 0 would run if it were not",
    ] {
        let quoted = expected.replace('\'', "''");
        assert_eq!(
            db.count(&format!("wf.alerts WHERE message = '{quoted}'")),
            1,
            "{expected}: {:?}",
            db.all::<String>("SELECT message FROM wf.alerts")
        );
    }
    assert_eq!(db.count("wf.alerts WHERE hint IS NULL OR message IS NULL"), 0);
    let valued = "alert <> 'not_preloaded'";
    assert_eq!(
        db.count(&format!(
            "wf.alerts WHERE {valued} AND value IS NULL OR {valued} AND threshold IS NULL"
        )),
        0
    );
    // The place of what is far behind is not counted.
    db.run("INSERT INTO wf_internal.ready (owner, priority, run_id) SELECT 'postgres', 0, gen_random_uuid() FROM generate_series(1, 100001)");
    db.run("SELECT wf_start('asks', id => 'last', priority => 1)");
    let words = explanation(&mut db, "last", "no_executor");
    assert!(
        words.starts_with("is ready for a turn, more than 100000 before it"),
        "{words}"
    );
    // What is about other roles' work is not for strangers.
    db.run("CREATE ROLE eve LOGIN");
    let mut eve = cluster.connect("postgres", "eve");
    assert_eq!(alerts(&mut eve), ["not_preloaded", "retention_behind", "vacuum_behind"]);
}

#[test]
fn what_has_failed_is_found_among_much_that_has_not() {
    let cluster = Cluster::with(&["autovacuum = off"]);
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.run("CREATE FUNCTION well() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('s', 'SELECT 1'); END $$");
    db.run("SELECT count(wf_start('well')) FROM generate_series(1, 200)");
    let open = "wf.workflows WHERE finished_at IS NULL";
    eventually(SOON, "all have ended", || db.count(open) == 0);
    // The end of what ends well is a HOT update: the index of failures has no column that it changes.
    let counters =
        "SELECT ARRAY[n_tup_upd, n_tup_hot_upd] FROM pg_stat_all_tables WHERE relid = 'wf_internal.runs'::regclass";
    let mut updates = vec![0, 0];
    eventually(SOON, "counters", || {
        updates = db.one::<Vec<i64>>(counters);
        updates[0] >= 200
    });
    assert!(updates[1] >= updates[0] * 9 / 10, "{updates:?}");

    db.run(
        "INSERT INTO wf_internal.runs SELECT r.created_at, r.started_at, r.finished_at, r.start_at, r.start_by, r.deadline, gen_random_uuid(), 1, r.def_id,
             r.owner, r.priority, r.depth, r.parent_n, r.parent_item, r.status, 'copy-' || g, r.input, r.parent_run_id, r.waiting_for, r.result, r.error, r.queue
         FROM generate_series(1, 50000) g, (SELECT * FROM wf_internal.runs LIMIT 1) r",
    );
    db.run("SELECT wf_start('fails', id => 'f')");
    eventually(SOON, "it fails", || db.status("f") == "failed");
    db.run("VACUUM ANALYZE wf_internal.runs");
    assert_eq!(db.count("wf.failures WHERE workflow = 'fails' AND count = 1"), 1);
    for query in [
        "SELECT * FROM wf.failures",
        "SELECT * FROM wf.workflows WHERE id = 'f'",
        "SELECT * FROM wf.workflows LIMIT 10",
        "SELECT * FROM wf.alerts",
        "SELECT * FROM wf.steps WHERE id = 'f'",
    ] {
        let plan: Vec<String> = db.all(&format!("EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) {query}"));
        // Rows are counted in hundredths from 18 on.
        let few = |line: &str| line.contains("actual rows=10 ") || line.contains("actual rows=10.00 ");
        let scanned = plan.iter().any(|line| line.contains("Seq Scan on runs") && !few(line));
        assert!(!scanned, "{query}\n{}", plan.join("\n"));
    }
}
