//! The clock is set, forward and back: what docs/operating.md says of it, with servers whose clock is really another one.

use std::time::{Duration, Instant};

use pg_workflow_server_tests::clock::{DAY, HOUR};
use pg_workflow_server_tests::*;

/// A scheduler that nobody wakes looks at the clock every half minute.
const NOTICED: Duration = Duration::from_secs(90);

const FLOWS: &str = r#"
    -- No unique constraint: a step done twice shall leave two rows.
    CREATE TABLE effects (id text, step text);
    CREATE TABLE fails (on_purpose boolean);
    INSERT INTO fails VALUES (true);
    CREATE FUNCTION effect(id text, step text) RETURNS void LANGUAGE sql AS $$ INSERT INTO effects VALUES (id, step) $$;
    CREATE FUNCTION may_fail(id text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT on_purpose FROM fails) THEN RAISE 'not yet'; END IF;
        INSERT INTO effects VALUES (id, 'retried');
    END $$;
    CREATE FUNCTION hello(id text) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('greet', 'effect', jsonb_build_object('id', id, 'step', 'greet'));
        RETURN '"hello"';
    END $$;
    CREATE FUNCTION naps(id text, nap text) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('before', 'effect', jsonb_build_object('id', id, 'step', 'before'));
        PERFORM wf_sleep(nap::interval);
        PERFORM wf_step('after', 'effect', jsonb_build_object('id', id, 'step', 'after'));
        RETURN '"rested"';
    END $$;
    CREATE FUNCTION asks(timeout text) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN coalesce(wf_wait_signal('go', timeout => timeout::interval), '"nobody"'); END $$;
    CREATE FUNCTION retries(id text) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('try', 'may_fail', jsonb_build_object('id', id), retry => '{"first_delay": "3 hours", "max_delay": "3 hours", "jitter": 0}');
        RETURN '"at last"';
    END $$;
    CREATE FUNCTION maps(id text) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_map('try', 'may_fail', jsonb_build_array(jsonb_build_object('id', id)),
                       retry => '{"first_delay": "3 hours", "max_delay": "3 hours", "jitter": 0}');
        RETURN '"at last"';
    END $$;
    CREATE FUNCTION breaks(id text) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN PERFORM wf_step('try', 'may_fail', jsonb_build_object('id', id)); RETURN '"mended"'; END $$;
    CREATE FUNCTION limited(id text) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('limited', 'effect', jsonb_build_object('id', id, 'step', 'limited'), queue => 'hourly');
        RETURN '"admitted"';
    END $$;
    CREATE FUNCTION delegates(queue text) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_task('it', queue, retry => '{"first_delay": "0"}'); END $$;
    -- For as long as there is a row.
    CREATE TABLE busy (seconds int);
    CREATE FUNCTION keeps_busy() RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_step('busy', 'SELECT pg_sleep(seconds) FROM busy'); END $$;
    CREATE PROCEDURE chain(id text, INOUT result jsonb) LANGUAGE plpgsql AS $$
    BEGIN
        FOR i IN 1..40 LOOP
            CALL wf_step('link', 'effect', jsonb_build_object('id', id, 'step', 'link ' || i), result);
        END LOOP;
        result := '"chained"';
    END $$;
    CREATE FUNCTION works(seconds float, timeout text) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('work', 'SELECT pg_sleep(($1->>''seconds'')::float)', jsonb_build_object('seconds', seconds),
                        timeout => timeout::interval);
        RETURN '"worked"';
    END $$;
    SELECT wf_queue('hourly', rate => 1, per => '1 hour');
"#;

fn start(db: &mut Client, workflow: &str, id: &str, input: &Value, options: &str) {
    db.run(&format!(
        "SELECT wf_start('{workflow}', '{input}', id => '{id}'{options})"
    ));
}

fn hello(db: &mut Client, id: &str) {
    start(db, "hello", id, &json!({ "id": id }), "");
    assert_eq!(db.result(id), json!("hello"), "{id}");
}

fn nap(db: &mut Client, id: &str, time: &str) {
    start(db, "naps", id, &json!({ "id": id, "nap": time }), "");
}

fn ends(db: &mut Client, ids: &[&str]) {
    for id in ids {
        eventually(NOTICED, &format!("{id} has ended"), || {
            matches!(&*db.status(id), "completed" | "failed")
        });
    }
}

/// One of each thing that waits for a time, of some hours.
const WAITING: [&str; 7] = ["nap", "asks", "retries", "maps", "limited", "late", "bounded"];

fn start_waiting(db: &mut Client) {
    nap(db, "nap", "1 hour");
    start(db, "asks", "asks", &json!({ "timeout": "2 hours" }), "");
    start(db, "retries", "retries", &json!({ "id": "retries" }), "");
    start(db, "maps", "maps", &json!({ "id": "maps" }), "");
    start(db, "limited", "first", &json!({ "id": "first" }), "");
    assert_eq!(db.result("first"), json!("admitted"));
    start(db, "limited", "limited", &json!({ "id": "limited" }), "");
    start(db, "hello", "late", &json!({ "id": "late" }), ", delay => '4 hours'");
    start(
        db,
        "asks",
        "bounded",
        &json!({ "timeout": "9 days" }),
        ", timeout => '5 hours'",
    );
    start(db, "breaks", "broken", &json!({ "id": "broken" }), "");
    ends(db, &["broken"]);
    db.waits_for("nap", "sleep");
    db.waits_for("asks", "signal");
    db.waits_for("bounded", "signal");
    db.waits_for("retries", "retry");
    eventually(
        SOON,
        "the item of the map is to be tried again, and the queue to be served",
        || {
            db.count("wf_internal.branches WHERE status = 'retrying'") == 1
                && db.count("wf_internal.queues WHERE serve_at > now()") == 1
        },
    );
    db.run("UPDATE fails SET on_purpose = false");
}

/// What has become of them when their times have come: each has been done once.
fn check_waited(db: &mut Client) {
    ends(db, &WAITING);
    for (id, result) in [
        ("nap", "rested"),
        ("asks", "nobody"),
        ("retries", "at last"),
        ("maps", "at last"),
        ("limited", "admitted"),
        ("late", "hello"),
    ] {
        assert_eq!(db.result(id), json!(result), "{id}");
    }
    assert_eq!(db.failure("bounded").sqlstate, "WF003");
    assert_eq!(
        db.all::<String>(
            "SELECT id || ' ' || step FROM effects WHERE id IN ('nap', 'retries', 'maps', 'limited', 'late') ORDER BY 1"
        ),
        [
            "late greet",
            "limited limited",
            "maps retried",
            "nap after",
            "nap before",
            "retries retried"
        ]
    );
}

/// Whoever looks sees times that can be.
fn check_views(db: &mut Client) {
    assert_eq!(
        db.count(
            "wf.stats WHERE least(queue_p50, queue_p99, run_p50, run_p99) < interval '0'
                         OR greatest(started, completed, failed, cancelled) > 1000"
        ),
        0
    );
    assert_eq!(db.count("wf.stats_history WHERE at > clock_timestamp()"), 0);
    assert_eq!(db.count("wf.queues WHERE tokens < 0 OR oldest < interval '0'"), 0);
    assert!(!db.one::<bool>(r"SELECT wf_metrics() ~ ' -\d'"));
    for id in db.all::<String>("SELECT DISTINCT id FROM wf.workflows") {
        db.run(&format!(
            "SELECT wf_explain('{id}'); SELECT wf_timeline('{id}'); SELECT wf_graph('{id}')"
        ));
    }
    db.run("SELECT * FROM wf.alerts; SELECT * FROM wf.workers; SELECT * FROM wf_health(); SELECT * FROM wf.steps; SELECT * FROM wf.tasks");
}

#[test]
fn a_clock_set_forward_is_noticed() {
    let cluster = Cluster::with_clock(&[]);
    let mut db = cluster.admin();
    db.run(FLOWS);
    start_waiting(&mut db);
    nap(&mut db, "long", "2 days");
    start(&mut db, "delegates", "task", &json!({ "queue": "q" }), "");
    let poll = "SELECT task FROM wf_poll('q', lease => '1 hour')";
    let mut token = String::new();
    eventually(SOON, "a task is there", || {
        token = db.all(poll).pop().unwrap_or_default();
        !token.is_empty()
    });
    let patient = std::thread::scope(|scope| {
        // Lengths of time are what they were: a step's timeout, the time that a client waits.
        let client = scope.spawn(|| {
            let mut client = cluster.admin();
            start(
                &mut client,
                "works",
                "works",
                &json!({ "seconds": 8, "timeout": "1 min" }),
                "",
            );
            client.attempt("SELECT wf_result('works', '50 s')")
        });
        db.in_step("works", "work");
        cluster.set_clock(DAY);
        client.join().expect("the client")
    });
    assert_eq!(patient, Ok(()));
    assert_eq!(db.result("works"), json!("worked"));

    check_waited(&mut db);
    assert_eq!(db.status("long"), "waiting");
    assert_eq!(
        db.fails(&format!("SELECT wf_complete('{token}', '1')")).sqlstate,
        "WF007"
    );
    let token: String = db.one(poll);
    db.run(&format!(
        "SELECT wf_heartbeat('{token}'); SELECT wf_complete('{token}', '7')"
    ));
    assert_eq!(db.result("task"), json!(7));
    check_views(&mut db);

    // Whoever sets a timer has the scheduler look at the clock, which has just gone to sleep for half a minute.
    nap(&mut db, "other", "30 days");
    db.waits_for("other", "sleep");
    cluster.set_clock(4 * DAY);
    nap(&mut db, "short", "100 ms");
    let begun = Instant::now();
    for id in ["long", "short"] {
        assert_eq!(db.result(id), json!("rested"));
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(db.status("other"), "waiting");
    db.run("SELECT wf_cancel('other')");
    assert_eq!(db.failure("other").sqlstate, "WF002");
    eventually(SOON, "nothing is left", || db.all::<String>(CONSISTENCY).is_empty());
}

fn terminate(db: &mut Client, kinds: &str) {
    db.run(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type ~ 'pg_workflow ({kinds})'"
    ));
}

#[test]
fn nothing_that_is_ready_waits_for_a_clock_that_was_set_back() {
    let cluster = Cluster::with_clock(&[]);
    let mut db = cluster.admin();
    db.run(FLOWS);
    start_waiting(&mut db);
    start(&mut db, "asks", "sent", &json!({ "timeout": "1 day" }), "");
    start(&mut db, "asks", "sent later", &json!({ "timeout": "1 day" }), "");
    start(&mut db, "delegates", "task", &json!({ "queue": "q" }), "");
    start(&mut db, "delegates", "other task", &json!({ "queue": "q" }), "");
    let mut tasks = Vec::new();
    eventually(SOON, "tasks are there", || {
        tasks.extend(db.all::<String>("SELECT id || ':' || task FROM wf_poll('q', lease => '1 hour')"));
        tasks.len() == 2
    });
    let token = |id: &str| {
        tasks
            .iter()
            .find_map(|task| Some(task.strip_prefix(id)?.strip_prefix(':')?.to_owned()))
    };
    let (task, other_task) = (token("task").expect("a token"), token("other task").expect("a token"));

    std::thread::scope(|scope| {
        // A step has the time that it was given, and a client waits for as long as it has said.
        start(
            &mut db,
            "works",
            "works",
            &json!({ "seconds": 600, "timeout": "10 s" }),
            "",
        );
        db.in_step("works", "work");
        let clients = [
            "SELECT wf_result('asks', '10 s')",
            "CALL wf_poll('none', '10 s', NULL)",
            "SELECT wf_wait_value('asks', 'none', '10 s')",
        ]
        .map(|sql| {
            let mut client = cluster.admin();
            scope.spawn(move || client.attempt(sql).map_err(|failure| failure.sqlstate))
        });
        eventually(SOON, "they wait", || {
            db.count("pg_stat_activity WHERE backend_type = 'client backend' AND wait_event_type = 'Extension'") == 3
        });
        cluster.set_clock(-HOUR);
        let [result, poll, value] = clients.map(|client| client.join().expect("a client"));
        assert_eq!(result, Err("55000".to_owned()));
        assert_eq!((poll, value), (Ok(()), Ok(())));
        assert_eq!(db.failure("works").sqlstate, "WF004");
    });
    for (round, offset) in [(1, -2 * HOUR), (2, -DAY), (3, -3 * DAY)] {
        let id = |name: &str| format!("{name} {round}");
        cluster.set_clock(offset);
        hello(&mut db, &id("hello"));
        nap(&mut db, &id("nap"), "300 ms");
        assert_eq!(db.result(&id("nap")), json!("rested"));
        // With processes that have begun under the new time; and with a scheduler that was started a moment before.
        terminate(&mut db, "scheduler|executor");
        hello(&mut db, &id("hello again"));
        let schedulers = "pg_stat_activity WHERE backend_type = 'pg_workflow scheduler'";
        eventually(SOON, "there is a scheduler", || db.count(schedulers) == 1);
        cluster.set_clock(offset - HOUR);
        terminate(&mut db, "scheduler|executor");
        hello(&mut db, &id("hello once more"));
        terminate(&mut db, "launcher|scheduler|executor");
        nap(&mut db, &id("nap again"), "300 ms");
        assert_eq!(db.result(&id("nap again")), json!("rested"));
    }
    // A lease that is renewed ends by the new time; the other is not over before its own.
    db.run(&format!("SELECT wf_heartbeat('{task}', lease => '1 s')"));
    eventually(SOON, "the lease is over", || {
        db.one("SELECT status = 'waiting' FROM wf.tasks WHERE id = 'task'")
    });
    assert_eq!(db.count("wf.tasks WHERE id = 'other task' AND status = 'running'"), 1);
    db.run(&format!("SELECT wf_complete('{other_task}', '1')"));
    assert_eq!(db.result("other task"), json!(1));
    let again: String = db.one("SELECT task FROM wf_poll('q')");
    db.run(&format!("SELECT wf_complete('{again}', '2')"));
    assert_eq!(db.result("task"), json!(2));
    db.run("SELECT wf_signal('sent', 'go', '1')");
    assert_eq!(db.result("sent"), json!(1));
    db.run("SELECT wf_retry('broken')");
    assert_eq!(db.result("broken"), json!("mended"));
    check_views(&mut db);
    for id in ["nap", "asks", "retries", "maps", "limited", "bounded"] {
        assert_eq!(db.status(id), "waiting", "{id}");
    }
    assert_eq!(db.status("late"), "pending");

    // The server begins anew under the new time.
    drop(db);
    cluster.restart();
    let mut db = cluster.admin();
    hello(&mut db, "restarted");
    drop(db);
    cluster.kill9();
    cluster.set_clock(-4 * DAY);
    cluster.start();
    let mut db = cluster.admin();
    hello(&mut db, "crashed");
    db.run("SELECT wf_signal('sent later', 'go', '2')");
    assert_eq!(db.result("sent later"), json!(2));
    // Old enough is what has been made and has ended before now, by the clock.
    eventually(SOON, "a millisecond has passed", || {
        db.one::<i32>("SELECT wf_purge('0')") == 1
    });
    assert_eq!(db.count("wf.workflows WHERE id = 'crashed'"), 0);
    cluster.set_clock(DAY);
    check_waited(&mut db);
    assert!(db.one::<i32>("SELECT wf_purge('0')") > 20);
    assert_eq!(db.all::<String>("SELECT id FROM wf.workflows"), Vec::<String>::new());
    eventually(SOON, "nothing is left", || db.all::<String>(CONSISTENCY).is_empty());
}

#[test]
fn a_timer_that_has_come_before_the_clock_was_set_back_is_set_again() {
    let cluster = Cluster::with_clock(&["pg_workflow.max_executors = 1"]);
    let mut db = cluster.admin();
    db.run(FLOWS);
    start_waiting(&mut db);
    // The only executor is busy while timers come, and takes their runs' turns when the clock has been set back.
    let timers = "SELECT concat_ws(' ', due_at, run_id, n, item) FROM wf_internal.timers ORDER BY 1";
    let before: Vec<String> = db.all(timers);
    let come = |db: &mut Client, busy: &str| {
        db.run("DELETE FROM busy; INSERT INTO busy VALUES (600)");
        start(db, "keeps_busy", busy, &json!({}), "");
        db.in_step(busy, "busy");
        cluster.set_clock(6 * HOUR);
        start(
            db,
            "hello",
            &format!("{busy}, then this"),
            &json!({ "id": "" }),
            ", delay => '1 ms'",
        );
        eventually(NOTICED, "the timers have come", || {
            db.count("wf_internal.timers WHERE due_at < clock_timestamp()") == 0
        });
        assert!(db.count("wf_internal.ready") >= WAITING.len() as i64);
    };
    let are_back = |db: &mut Client, what: &str| {
        eventually(NOTICED, what, || db.count("wf_internal.ready") == 0);
        let there: Vec<String> = db.all(timers);
        assert!(
            before.iter().all(|timer| there.contains(timer)),
            "{what}: {before:#?}, {there:#?}"
        );
        assert!(db.all::<String>(CONSISTENCY).is_empty());
    };
    come(&mut db, "busy");
    cluster.set_clock(0);
    db.run("SELECT wf_cancel('busy')");
    are_back(&mut db, "turns are taken");

    come(&mut db, "busy again");
    db.run("DELETE FROM busy");
    drop(db);
    cluster.stop(Stop::Fast);
    cluster.set_clock(0);
    cluster.start();
    let mut db = cluster.admin();
    are_back(&mut db, "turns are taken behind a restart");
    cluster.set_clock(6 * HOUR);
    nap(&mut db, "last", "1 ms");
    check_waited(&mut db);
}

#[test]
fn a_clock_that_jumps_to_and_fro_loses_nothing_and_repeats_nothing() {
    let cluster = Cluster::with_clock(&[]);
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.run("UPDATE fails SET on_purpose = false");
    let mut random = Random::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        let round = begun.elapsed().as_micros();
        db.run(&format!(
            "SELECT wf_start('hello', jsonb_build_object('id', i), id => 'hello ' || i),
                    wf_start('chain', jsonb_build_object('id', i), id => 'chain ' || i),
                    wf_start('naps', jsonb_build_object('id', i, 'nap', '10 ms'), id => 'naps ' || i),
                    wf_start('asks', '{{\"timeout\": \"20 ms\"}}', id => 'asks ' || i),
                    wf_start('maps', jsonb_build_object('id', i), id => 'maps ' || i, delay => '5 ms')
             FROM (SELECT '{round}' AS i) AS x"
        ));
        cluster.set_clock((random.below(9) as i64 - 4) * HOUR);
        std::thread::sleep(Duration::from_millis(random.below(60)));
    }
    // Now the time of everything has come.
    cluster.set_clock(DAY);
    let open = "SELECT concat_ws(', ', r.id, r.status, r.waiting_for,
                        (SELECT 'ready' FROM wf_internal.ready q WHERE q.run_id = r.run_id LIMIT 1),
                        (SELECT 'timer at ' || min(t.due_at) FROM wf_internal.timers t WHERE t.run_id = r.run_id))
                FROM wf_internal.runs r WHERE finished_at IS NULL";
    let begun = Instant::now();
    while begun.elapsed() < NOTICED && !db.all::<String>(open).is_empty() {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(db.all::<String>(open), Vec::<String>::new());
    assert_eq!(db.count("wf_internal.runs WHERE status <> 'completed'"), 0);
    assert_eq!(
        db.count("(SELECT FROM effects GROUP BY id, step HAVING count(*) > 1) AS twice"),
        0
    );
    let rounds = db.count("wf_internal.runs") / 5;
    assert!(rounds > 3, "{rounds}");
    assert_eq!(db.count("effects"), rounds * (1 + 40 + 2 + 1));
    check_views(&mut db);
    eventually(SOON, "nothing is left", || db.all::<String>(CONSISTENCY).is_empty());
}
