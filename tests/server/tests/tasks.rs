//! Tasks against real workers: sessions that are killed, servers that are killed under them, roles, limits, and waiting
//! without a transaction.

use std::collections::HashMap;
use std::io::Write;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

/// A workflow of `n` tasks side by side, whose result is the sum of theirs; and one of a single task.
const FLOWS: &str = r#"
    CREATE FUNCTION fan(n integer, queue text) RETURNS jsonb LANGUAGE plpgsql AS $$
    DECLARE h int[]; result jsonb;
    BEGIN
        FOR i IN 1..n LOOP
            h[i] := wf_begin('t' || i, queue => queue, input => to_jsonb(i), retry => '{"max_attempts": 0, "first_delay": "0"}');
        END LOOP;
        SELECT to_jsonb(sum((r->>'result')::int)) INTO result FROM jsonb_array_elements(wf_await(h)) AS r;
        RETURN result;
    END $$;
    CREATE FUNCTION one(queue text) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_task('it', queue, retry => '{"first_delay": "0"}'); END $$"#;

fn waiting(db: &mut Client, queue: &str, number: i64) {
    eventually(SOON, &format!("{number} tasks in {queue}"), || {
        let waiting: Option<i64> = db.one(&format!(
            "SELECT sum(waiting)::bigint FROM wf.queues WHERE name = '{queue}'"
        ));
        waiting.unwrap_or(0) == number
    });
}

/// Claims one task; the token.
fn claim(client: &mut Client, queue: &str, lease: &str) -> String {
    client.one(&format!("SELECT task FROM wf_poll('{queue}', lease => '{lease}')"))
}

#[test]
fn a_waiting_worker_is_woken_and_holds_nothing_meanwhile() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(FLOWS);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut worker = cluster.admin();
            let pid: i32 = worker.one("SELECT pg_backend_pid()");
            let tasks: Value = worker.one("CALL wf_poll('q', '30 s', NULL, 'w')");
            (pid, tasks, Instant::now())
        });
        let idle = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL wf_poll%' AND pid <> pg_backend_pid()
                    AND wait_event_type = 'Extension' AND backend_xmin IS NULL AND backend_xid IS NULL";
        eventually(SOON, "the worker waits", || db.one::<i64>(idle) == 1);
        let locks = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                     WHERE a.query LIKE 'CALL wf_poll%' AND a.pid <> pg_backend_pid() AND l.locktype <> 'virtualxid'";
        assert_eq!(db.one::<i64>(locks), 0, "no lock");
        // It does not look again and again: a look would begin another transaction.
        let begun = "SELECT xact_start::text FROM pg_stat_activity WHERE query LIKE 'CALL wf_poll%' AND pid <> pg_backend_pid()";
        let since: String = db.one(begun);
        throughout(Duration::from_secs(2), "the worker sleeps", || {
            db.one::<String>(begun) == since
        });
        // Uncommitted it is nothing to wake for.
        db.run("BEGIN; SELECT wf_start('one', '{\"queue\": \"q\"}', id => 'w')");
        db.run("COMMIT");
        let begun = Instant::now();
        let (_, tasks, woken) = worker.join().unwrap();
        assert_eq!(tasks[0]["id"], json!("w"), "{tasks}");
        assert!(woken - begun < Duration::from_secs(5), "{:?}", woken - begun);
        let token = tasks[0]["task"].as_str().unwrap();
        db.run(&format!("SELECT wf_complete('{token}', '1')"));
        assert_eq!(db.result("w"), json!(1));
    });
    // Not for another queue's tasks, and at the end of its time with nothing.
    db.run("SELECT wf_start('one', '{\"queue\": \"other\"}')");
    let tasks: Value = db.one("CALL wf_poll('q', '0.2 s', NULL)");
    assert_eq!(tasks, json!([]));
    // Others' sessions end a wait by a cancel, and nothing is left behind.
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| cluster.admin().fails("CALL wf_poll('q', '30 s', NULL)"));
        eventually(SOON, "it is cancelled", || {
            db.one::<i64>(
                "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
                 WHERE query LIKE 'CALL wf_poll%' AND wait_event_type = 'Extension'",
            ) > 0
        });
        assert_eq!(worker.join().unwrap().sqlstate, "57014");
    });
    // In a session whose default is another isolation level.
    db.run("SET default_transaction_isolation = 'repeatable read'");
    let tasks: Value = db.one("CALL wf_poll('other', '5 s', NULL)");
    assert_eq!(tasks.as_array().unwrap().len(), 1);
}

#[test]
fn a_limit_that_gives_way_wakes_and_so_does_a_rate() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.run("SELECT wf_queue('q', max_running => 1)");
    db.run("SELECT wf_start('fan', '{\"n\": 2, \"queue\": \"q\"}', id => 'f')");
    waiting(&mut db, "q", 2);
    let first = claim(&mut db, "q", "1 min");
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| cluster.admin().one::<Value>("CALL wf_poll('q', '30 s', NULL)"));
        let sleeps =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL wf_poll%' AND wait_event_type = 'Extension'
                      AND pid <> pg_backend_pid()";
        eventually(SOON, "the worker waits", || db.one::<i64>(sleeps) == 1);
        db.run(&format!("SELECT wf_complete('{first}', '1')"));
        let tasks = worker.join().unwrap();
        let token = tasks[0]["task"].as_str().unwrap().to_owned();
        db.run(&format!("SELECT wf_complete('{token}', '2')"));
    });
    assert_eq!(db.result("f"), json!(3));
    // A rate: the worker sleeps until it may have the next.
    db.run("SELECT wf_queue('r', rate => 2, per => '1 s'); SELECT wf_start('fan', '{\"n\": 5, \"queue\": \"r\"}')");
    waiting(&mut db, "r", 5);
    let begun = Instant::now();
    for _ in 0..5 {
        let tasks: Value = db.one("CALL wf_poll('r', '10 s', NULL)");
        assert_eq!(tasks.as_array().unwrap().len(), 1);
    }
    let took = begun.elapsed();
    assert!(
        took > Duration::from_millis(1300) && took < Duration::from_secs(5),
        "two at once, three more at two a second: {took:?}"
    );
}

#[test]
fn limits_hold_among_workers_that_claim_at_once() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.run("SELECT wf_queue('q', max_running => 3); SELECT wf_queue('r', rate => 20, per => '1 s')");
    for queue in ["q", "r"] {
        db.run(&format!(
            "SELECT wf_start('fan', '{{\"n\": 60, \"queue\": \"{queue}\"}}', id => '{queue}')"
        ));
        waiting(&mut db, queue, 60);
    }
    let stop = AtomicBool::new(false);
    // From the queue with a rate.
    let claimed = Mutex::new(0_i64);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut db = cluster.admin();
            let mut most = 0;
            while !stop.load(Ordering::Relaxed) {
                most = most.max(db.one::<i64>("SELECT running FROM wf.queues WHERE name = 'q'"));
            }
            most
        });
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut worker = cluster.admin();
                    loop {
                        let tasks: Value = worker.one("CALL wf_poll('q', '1 s', NULL, max => 2)");
                        let tasks = tasks.as_array().unwrap();
                        if tasks.is_empty() {
                            return;
                        }
                        for task in tasks {
                            let token = task["task"].as_str().unwrap();
                            worker.run(&format!("SELECT wf_complete('{token}', '1')"));
                        }
                    }
                })
            })
            .collect();
        let raters: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut worker = cluster.admin();
                    while *claimed.lock().unwrap() < 60 {
                        let number: i64 =
                            worker.one("SELECT count(wf_complete(task, '1')) FROM wf_poll('r', max => 10)");
                        *claimed.lock().unwrap() += number;
                        let allowed = 21.0 + 20.0 * begun.elapsed().as_secs_f64();
                        assert!(*claimed.lock().unwrap() as f64 <= allowed);
                        std::thread::sleep(Duration::from_millis(10));
                    }
                })
            })
            .collect();
        raters.into_iter().for_each(|worker| worker.join().unwrap());
        let took = begun.elapsed();
        assert!(
            took > Duration::from_millis(1500),
            "20 at once, 40 at 20 a second: {took:?}"
        );
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        stop.store(true, Ordering::Relaxed);
        let most = watcher.join().unwrap();
        assert!((1..=3).contains(&most), "{most} at a time");
    });
    assert_eq!((db.result("q"), db.result("r")), (json!(60), json!(60)));
}

#[test]
fn a_lost_lease_goes_to_another_and_the_late_one_is_refused() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.run("SELECT wf_start('one', '{\"queue\": \"q\"}', id => 'a')");
    waiting(&mut db, "q", 1);
    let late = claim(&mut db, "q", "0.2 s");
    // Nobody looks for it but a timer.
    waiting(&mut db, "q", 1);
    let current = claim(&mut db, "q", "1 min");
    assert_ne!(late, current);
    for call in ["wf_complete('{}', '1')", "wf_fail('{}', 'x')", "wf_heartbeat('{}')"] {
        let failure = db.fails(&format!("SELECT {}", call.replace("{}", &late)));
        assert_eq!(failure.sqlstate, "WF007", "{failure:?}");
        assert_eq!(failure.detail, "It is in attempt 2, which has another token.");
    }
    // Forged: the same task, another lease.
    let forged = format!("{}00000000-0000-4000-8000-000000000000", &current[..current.len() - 36]);
    assert_eq!(
        db.fails(&format!("SELECT wf_complete('{forged}', '1')")).sqlstate,
        "WF007"
    );
    assert!(db.one::<bool>(&format!("SELECT wf_complete('{current}', '2')")));
    assert_eq!(db.result("a"), json!(2));
    assert!(
        !db.one::<bool>(&format!("SELECT wf_complete('{current}', '3')")),
        "repeated"
    );
    assert_eq!(
        db.fails(&format!("SELECT wf_complete('{late}', '1')")).sqlstate,
        "WF007"
    );

    // A worker in an open transaction is not waited for, and what it has said counts when it commits.
    db.run("SELECT wf_start('one', '{\"queue\": \"q\"}', id => 'b')");
    waiting(&mut db, "q", 1);
    let token = claim(&mut db, "q", "2 s");
    let mut worker = cluster.admin();
    worker.run(&format!("BEGIN; SELECT wf_complete('{token}', '5')"));
    eventually(SOON, "the lease has expired", || {
        db.one::<bool>("SELECT lease_until < now() - interval '0.5 s' FROM wf.tasks WHERE id = 'b'")
    });
    db.run("SELECT wf_start('one', '{\"queue\": \"elsewhere\"}')");
    waiting(&mut db, "elsewhere", 1);
    worker.run("COMMIT");
    assert_eq!(db.result("b"), json!(5));

    // Rolled back, the task goes to another all the same.
    db.run("SELECT wf_start('one', '{\"queue\": \"q\"}', id => 'c')");
    waiting(&mut db, "q", 1);
    let token = claim(&mut db, "q", "2 s");
    worker.run(&format!("BEGIN; SELECT wf_complete('{token}', '5')"));
    eventually(SOON, "the lease has expired", || {
        db.one::<bool>("SELECT lease_until < now() - interval '0.5 s' FROM wf.tasks WHERE id = 'c'")
    });
    worker.run("ROLLBACK");
    waiting(&mut db, "q", 1);

    // A cancel while a worker has the task locked: its next word is answered.
    let token = claim(&mut db, "q", "1 min");
    worker.run(&format!("BEGIN; SELECT wf_heartbeat('{token}')"));
    db.run("SELECT wf_cancel('c')");
    assert_eq!(db.failure("c").sqlstate, "WF002");
    worker.run("COMMIT");
    assert!(!db.one::<bool>(&format!("SELECT wf_heartbeat('{token}')")));
    let failure = db.fails(&format!("SELECT wf_complete('{token}')"));
    assert_eq!(failure.sqlstate, "WF007");
    assert!(failure.detail.contains("cancelled"), "{failure:?}");

    // A claim that is rolled back is none; of a call that has ended meanwhile it leaves nothing to be claimed.
    db.run("SELECT wf_start('one', '{\"queue\": \"q\"}', id => 'd')");
    waiting(&mut db, "q", 1);
    worker.run("BEGIN; SELECT task FROM wf_poll('q')");
    db.run("SELECT wf_cancel('d')");
    assert_eq!(db.failure("d").sqlstate, "WF002");
    worker.run("ROLLBACK");
    assert_eq!(db.count("wf_poll('q')"), 0);
    assert_eq!(
        db.one::<String>("SELECT status FROM wf.tasks WHERE id = 'd'"),
        "cancelled"
    );
    assert_eq!(db.one::<i64>("SELECT waiting FROM wf.queues WHERE name = 'q'"), 0);
}

#[test]
fn only_who_may_works_on_a_queue() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN; CREATE ROLE pool NOLOGIN; CREATE ROLE mate LOGIN;
         GRANT pool TO carol; GRANT alice TO mate; GRANT CREATE ON SCHEMA public TO alice",
    );
    let [mut alice, mut bob, mut carol, mut mate] =
        ["alice", "bob", "carol", "mate"].map(|role| cluster.connect("postgres", role));
    alice.run(FLOWS);
    alice.run("SELECT wf_start('fan', '{\"n\": 4, \"queue\": \"q\"}', id => 'f')");
    waiting(&mut db, "q", 4);
    // A queue of the same name is another role's own.
    bob.run("SELECT wf_queue('q', paused => true)");
    for stranger in [&mut bob, &mut carol] {
        assert_eq!(stranger.count("wf_poll('q', max => 10)"), 0);
        assert_eq!(stranger.count("wf.tasks"), 0);
    }
    assert_eq!(bob.count("wf.queues"), 1);
    let token = claim(&mut mate, "q", "1 min");
    for call in ["wf_complete('{}', '1')", "wf_fail('{}', 'x')", "wf_heartbeat('{}')"] {
        let failure = bob.fails(&format!("SELECT {}", call.replace("{}", &token)));
        assert_eq!(failure.sqlstate, "42501", "{failure:?}");
    }
    mate.run(&format!("SELECT wf_complete('{token}', '1')"));
    // Named, a role may, and its members; it sees the tasks, and nothing else of the instance.
    alice.run("SELECT wf_queue('q', workers => '{pool, bob}')");
    for worker in [&mut bob, &mut carol] {
        let token = claim(worker, "q", "1 min");
        assert_eq!(worker.count("wf.tasks"), 4);
        assert_eq!(worker.count("wf.workflows"), 0);
        assert_eq!(worker.fails("SELECT wf_cancel('f')").sqlstate, "42704");
        worker.run(&format!("SELECT wf_heartbeat('{token}'), wf_complete('{token}', '1')"));
        assert_eq!(worker.fails("SELECT * FROM wf_internal.tasks").sqlstate, "42501");
    }
    let token = claim(&mut bob, "q", "1 min");
    alice.run("SELECT wf_queue('q', workers => '{}')");
    assert_eq!(bob.count("wf_poll('q')"), 0);
    assert_eq!(bob.fails(&format!("SELECT wf_complete('{token}')")).sqlstate, "42501");
    alice.run(&format!("SELECT wf_complete('{token}', '1')"));
    assert_eq!(alice.result("f"), json!(4));
}

/// A worker that does each task with a row of its own, and says so at random with its death in between.
fn work(cluster: &Cluster, done: &Mutex<HashMap<String, u32>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut worker) = cluster.try_connect("postgres", "postgres") else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let Ok(row) = worker.query_one("CALL wf_poll('q', '0.5 s', NULL, max => 3, lease => '1 s')", &[]) else {
                break;
            };
            let tasks: Value = row.get(0);
            let tokens: Vec<&str> = tasks
                .as_array()
                .unwrap()
                .iter()
                .map(|task| task["task"].as_str().unwrap())
                .collect();
            for task in tasks.as_array().unwrap() {
                let key = task["idempotency_key"].as_str().unwrap().to_owned();
                *done.lock().unwrap().entry(key).or_default() += 1;
            }
            std::thread::sleep(Duration::from_millis(5));
            let sql = "SELECT count(*) FROM wf_complete((SELECT jsonb_agg(jsonb_build_object('task', t, 'result', 1)) FROM unnest($1::text[]) AS t))";
            if !tokens.is_empty() && worker.query_one(sql, &[&tokens]).is_err() {
                break;
            }
        }
    }
}

#[test]
fn every_task_is_completed_once_though_workers_and_servers_are_killed() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.run("SELECT wf_start('fan', '{\"n\": 300, \"queue\": \"q\"}', id => 'f')");
    waiting(&mut db, "q", 300);
    let (done, stop) = (Mutex::new(HashMap::new()), AtomicBool::new(false));
    let mut random = Random::new();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| work(&cluster, &done, &stop));
        }
        // Sessions of workers, one by one; twice the whole server.
        for round in 0..8 {
            std::thread::sleep(Duration::from_millis(50 + random.below(150)));
            if round % 4 == 3 {
                cluster.kill9();
                cluster.start();
                db = cluster.admin();
            } else {
                db.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY random() LIMIT 1",
                );
            }
        }
        eventually(Duration::from_secs(40), "all is done", || db.status("f") == "completed");
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(db.result("f"), json!(300));
    assert_eq!(db.count("wf.tasks WHERE status = 'completed'"), 300);
    assert_eq!(db.count("wf.steps WHERE kind = 'task' AND status = 'completed'"), 300);
    assert_eq!(
        done.lock().unwrap().len(),
        300,
        "each was in a worker's hands, some more than once"
    );
    assert_eq!(db.count("wf_internal.task_queue"), 0);
    assert_eq!(db.count("wf_internal.answers"), 0);
    eventually(SOON, "no timer is left", || db.count("wf_internal.timers") == 0);
}

/// The shell script of docs/tasks.md, as it stands there.
#[test]
fn the_documented_worker_works() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tasks.md");
    let page = std::fs::read_to_string(page).expect("docs/tasks.md");
    let script = page
        .split("```sh\n#!/bin/sh\n")
        .nth(1)
        .expect("a script")
        .split("```")
        .next()
        .unwrap();
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(FLOWS);
    let path = cluster.socket().join("worker.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{script}")).expect("written");
    let bin = program("psql").get_program().to_owned();
    let bin = std::path::Path::new(&bin).parent().unwrap().to_owned();
    let mut worker = std::process::Command::new("sh")
        .arg(&path)
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("PGHOST", cluster.socket())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", "postgres")
        .stdin(Stdio::null())
        .spawn()
        .expect("sh starts");
    db.run(
        "CREATE FUNCTION shout(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_task('shout', 'shout', input, retry => '{\"max_attempts\": 1}'); END $$;
         SELECT wf_start('shout', '{\"text\": \"it''s quiet\"}', id => 'a'); SELECT wf_start('shout', '{}', id => 'b')",
    );
    let (result, failure) = (
        db.query_one("SELECT wf_result('a', '15 s')", &[]),
        db.attempt("SELECT wf_result('b', '15 s')"),
    );
    let _ = worker.kill();
    let _ = worker.wait();
    std::io::stderr().flush().unwrap();
    assert_eq!(result.expect("a result").get::<_, Value>(0), json!("IT'S QUIET"));
    assert_eq!(failure.expect_err("no text, no result").sqlstate, "WF008");
}
