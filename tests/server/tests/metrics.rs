//! Counters count what has committed, once, and show each what is its own.

use pg_workflow_server_tests::*;

const FLOWS: &str = "
    CREATE FUNCTION good(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_step('one', 'SELECT 1'); END $$;
    CREATE FUNCTION bad(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        RETURN wf_step('fail', 'DO $d$ BEGIN RAISE ''no'' USING ERRCODE = ''P0042''; END $d$',
                       retry => '{\"max_attempts\": 3, \"first_delay\": \"1 ms\"}');
    END $$;
    CREATE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        IF input ? 'child' THEN RETURN wf_call('child', 'waits', '{}'); END IF;
        RETURN wf_wait_signal('go');
    END $$;
    CREATE FUNCTION naps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_sleep('300 ms');
        RETURN wf_step('slow', 'SELECT pg_sleep(0.2)');
    END $$;";

/// Numbers of a workflow's line of `wf.stats`: started, completed, failed, cancelled, in flight.
fn stats(db: &mut Client, workflow: &str, period: &str) -> [i64; 5] {
    let numbers: Option<String> = db
        .query_opt(
            "SELECT concat_ws(' ', started, completed, failed, cancelled, in_flight) FROM wf.stats
             WHERE workflow = $1 AND period = $2",
            &[&workflow, &period],
        )
        .unwrap()
        .map(|row| row.get(0));
    let mut all = [0; 5];
    for (place, number) in all.iter_mut().zip(numbers.unwrap_or_default().split_whitespace()) {
        *place = number.parse().unwrap();
    }
    all
}

/// Counters are counted a moment behind the commit that a client sees.
fn counted(db: &mut Client, workflow: &str, expected: [i64; 5]) {
    let mut last = [0; 5];
    let begun = std::time::Instant::now();
    while begun.elapsed() < SOON {
        last = stats(db, workflow, "total");
        if last == expected {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(last, expected, "{workflow}");
}

/// The value of a sample, by the beginning of its line.
fn sample(text: &str, line: &str) -> f64 {
    let found: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix(line)).collect();
    assert_eq!(found.len(), 1, "{line}\n{text}");
    found[0].trim().parse().unwrap()
}

#[test]
fn what_has_committed_is_counted() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.run("SELECT count(wf_start('good', id => 'g' || n)) FROM generate_series(1, 50) n");
    // What is taken back has not been: as a whole, to a savepoint, in a block.
    db.run("BEGIN; SELECT wf_start('good'); ROLLBACK");
    db.run("BEGIN; SAVEPOINT s; SELECT wf_start('good'); ROLLBACK TO s; SELECT wf_start('good', id => 'g51'); COMMIT");
    db.run(
        "DO $$ BEGIN
             BEGIN PERFORM wf_start('good'); RAISE 'taken back'; EXCEPTION WHEN OTHERS THEN END;
             BEGIN PERFORM wf_start('good', id => 'g52'); EXCEPTION WHEN OTHERS THEN END;
         END $$",
    );
    db.run("SELECT wf_test('good')");
    db.run("SELECT count(wf_start('bad', id => 'b' || n)) FROM generate_series(1, 3) n");
    db.run("SELECT wf_start('waits', id => 'w1'), wf_start('waits', '{\"child\": true}', id => 'w2'), wf_start('waits', id => 'w3'),
                   wf_start('waits', id => 'w4', delay => '1 h')");
    db.run("SELECT wf_start('naps', id => 'n1')");
    for n in 1..=52 {
        db.result(&format!("g{n}"));
    }
    for n in 1..=3 {
        db.failure(&format!("b{n}"));
    }
    db.result("n1");
    for id in ["w1", "w3"] {
        db.waits_for(id, "signal");
    }
    db.waits_for("w2", "child");
    db.run("SELECT wf_cancel('w3')");
    db.failure("w3");
    counted(&mut db, "good", [52, 52, 0, 0, 0]);
    counted(&mut db, "bad", [3, 0, 3, 0, 0]);
    // With the child of one, which waits for nothing else.
    counted(&mut db, "waits", [5, 0, 0, 1, 4]);
    counted(&mut db, "naps", [1, 1, 0, 0, 0]);
    db.run("SELECT wf_fork('n1', 'slow', 'n2')");
    db.result("n2");
    counted(&mut db, "naps", [2, 2, 0, 0, 0]);
    for period in ["1 min", "1 h", "1 day"] {
        // A minute may have passed on a machine that is busy.
        assert!(stats(&mut db, "good", period)[0] <= 52);
    }
    assert_eq!(stats(&mut db, "good", "1 day"), [52, 52, 0, 0, 0]);
    // Percentiles are within a factor of two, and in order.
    let times: String = db.one(
        "SELECT concat_ws(' ', run_p50 BETWEEN '100 ms' AND '30 s', run_p50 <= run_p95 AND run_p95 <= run_p99,
                          queue_p50 > '0', queue_p50 < '30 s')
         FROM wf.stats WHERE workflow = 'naps' AND period = 'total'",
    );
    assert_eq!(times, "t t t t");
    // The past adds up to the whole.
    for resolution in ["1 min", "1 h"] {
        let sums: String = db.one(&format!(
            "SELECT concat_ws(' ', sum(started), sum(completed), min(at) > now() - interval '2 h') FROM wf.stats_history
             WHERE workflow = 'good' AND resolution = '{resolution}'"
        ));
        assert_eq!(sums, "52 52 t");
    }

    let text: String = db.one("SELECT wf_metrics()");
    let labels = |workflow: &str| format!("database=\"postgres\",owner=\"postgres\",workflow=\"{workflow}\"");
    let (good, bad) = (labels("good"), labels("bad"));
    assert_eq!(sample(&text, &format!("pg_workflow_started_total{{{good}}}")), 52.0);
    assert_eq!(
        sample(
            &text,
            &format!("pg_workflow_ended_total{{{good},status=\"completed\"}}")
        ),
        52.0
    );
    assert_eq!(
        sample(
            &text,
            &format!("pg_workflow_failures_total{{{bad},sqlstate=\"P0042\"}}")
        ),
        3.0
    );
    assert_eq!(
        sample(
            &text,
            &format!("pg_workflow_step_failures_total{{{bad},sqlstate=\"P0042\"}}")
        ),
        9.0
    );
    assert_eq!(sample(&text, &format!("pg_workflow_step_retries_total{{{bad}}}")), 6.0);
    for name in ["queue_delay", "run", "step"] {
        assert_eq!(
            sample(&text, &format!("pg_workflow_{name}_seconds_count{{{good}}}")),
            52.0
        );
        assert_eq!(
            sample(
                &text,
                &format!("pg_workflow_{name}_seconds_bucket{{{good},le=\"+Inf\"}}")
            ),
            52.0
        );
        assert!(sample(&text, &format!("pg_workflow_{name}_seconds_sum{{{good}}}")) > 0.0);
    }
    assert!(
        sample(
            &text,
            "pg_workflow_processes{database=\"postgres\",kind=\"scheduler\",state=\"idle\"}"
        ) >= 1.0
    );

    // Nobody reads what has ended; who does not ask how many are in flight reads nothing.
    db.run(
        "INSERT INTO wf_internal.runs (created_at, started_at, finished_at, run_id, seq, def_id, owner, priority, depth, status, id, input)
         SELECT now(), now(), now(), gen_random_uuid(), 1, r.def_id, r.owner, 0, 0, 'completed', 'old' || n, '{}'
         FROM (SELECT * FROM wf_internal.runs WHERE id = 'g1') r, generate_series(1, 20000) n;
         ANALYZE wf_internal.runs",
    );
    let mut pages = |query: &str| {
        let plan: Value = db.one(&format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}"));
        let number = |key: &str| plan[0]["Plan"][key].as_i64().unwrap();
        number("Shared Hit Blocks") + number("Shared Read Blocks")
    };
    assert!(pages("SELECT * FROM wf_internal.runs") > 500);
    let (all, some) = (
        pages("SELECT * FROM wf.stats"),
        pages("SELECT workflow, started, run_p99 FROM wf.stats"),
    );
    assert!(all < 300 && some <= 10, "{all} {some}");
    counted(&mut db, "waits", [5, 0, 0, 1, 4]);

    // After a restart the counters begin anew; what is in flight is.
    cluster.kill9();
    cluster.start();
    let mut db = cluster.admin();
    eventually(SOON, "workers are back", || db.count("wf.workers") > 0);
    db.run("SELECT wf_signal('w1', 'go', '1')");
    db.result("w1");
    counted(&mut db, "waits", [0, 1, 0, 0, 3]);
}

#[test]
fn each_sees_what_is_its_own() {
    let cluster = Cluster::with(&["pg_workflow.metrics_workflows = 3"]);
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.run("CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE ROLE watch LOGIN; GRANT pg_monitor TO watch");
    let mut app = cluster.connect("postgres", "app");
    app.run("SELECT wf_define('say \"hi\\there\"', 'good')");
    app.run("SELECT wf_start('say \"hi\\there\"', id => 'a')");
    app.result("a");
    counted(&mut app, "say \"hi\\there\"", [1, 1, 0, 0, 0]);
    let mut watch = cluster.connect("postgres", "watch");
    counted(&mut watch, "say \"hi\\there\"", [1, 1, 0, 0, 0]);
    let mut other = cluster.connect("postgres", "other");
    assert_eq!(other.count("wf.stats"), 0);
    assert_eq!(other.count("wf.stats_history"), 0);
    let text: String = other.one("SELECT wf_metrics()");
    assert!(
        !text.contains("app") && text.contains("# TYPE pg_workflow_started_total counter\n"),
        "{text}"
    );
    let text: String = watch.one("SELECT wf_metrics('openmetrics')");
    assert!(
        text.contains(
            "pg_workflow_started_total{database=\"postgres\",owner=\"app\",workflow=\"say \\\"hi\\\\there\\\"\"} 1\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("# TYPE pg_workflow_started counter\n") && text.ends_with("# EOF\n"),
        "{text}"
    );
    assert_eq!(watch.fails("SELECT wf_metrics('xml')").sqlstate, "22023");
    // Of other databases nothing.
    let mut elsewhere = cluster.database("elsewhere");
    assert_eq!(elsewhere.count("wf.stats"), 0);

    // Two more find a place; what comes then is counted together, for who may see all.
    for name in ["long", "b", "c", "d"] {
        let name = if name == "long" {
            "x".repeat(500)
        } else {
            name.to_owned()
        };
        db.run(&format!(
            "SELECT wf_define('{name}', 'good'); SELECT wf_start('{name}', id => 'last')"
        ));
        db.result("last");
        db.run("SELECT wf_purge('0 s')");
    }
    let seen: Vec<String> = db.all(
        "SELECT concat(length(workflow), ' ', owner, ' ', started) FROM wf.stats WHERE period = 'total' ORDER BY length(workflow)",
    );
    assert_eq!(seen, ["1 postgres 1", "14 app 1", "128 postgres 1", "  2"]);
    let text: String = db.one("SELECT wf_metrics()");
    assert_eq!(
        sample(
            &text,
            "pg_workflow_started_total{database=\"\",owner=\"\",workflow=\"\"}"
        ),
        2.0
    );

    // Nothing is counted while that is off.
    db.run("ALTER SYSTEM SET pg_workflow.metrics = off");
    db.run("SELECT pg_reload_conf()");
    eventually(SOON, "the setting is there", || {
        db.one::<String>("SHOW pg_workflow.metrics") == "off"
    });
    db.run("SELECT wf_start('b', id => 'off')");
    db.result("off");
    assert_eq!(stats(&mut db, "b", "total")[0], 1);
}
