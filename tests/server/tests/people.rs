//! Waits with a schema, limits in time and cached results, where processes die, are busy, or stand in each other's way.

use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

const ASKS: &str = "CREATE FUNCTION asks(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_wait_signal('approval', schema => '{\"type\": \"boolean\"}', prompt => 'Yes or no?'); END $$";

#[test]
fn a_crash_keeps_what_is_asked_for() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(ASKS);
    db.run("SELECT wf_start('asks', id => 'a')");
    db.waits_for("a", "signal \"approval\"");
    cluster.kill9();
    cluster.start();
    let mut db = cluster.admin();
    assert_eq!(db.one::<String>("SELECT prompt FROM wf.waiting"), "Yes or no?");
    let failure = db.fails("SELECT wf_signal('a', 'approval', '\"perhaps\"')");
    assert_eq!(failure.sqlstate, "22023");
    assert_eq!(failure.detail, "At the top: value is not of type \"boolean\".");
    assert_eq!(db.count("wf.signals"), 0);
    db.run("SELECT wf_signal('a', 'approval', 'true')");
    assert_eq!(db.result("a"), json!(true));
    assert_eq!(db.count("wf.waiting"), 0);
}

/// A sender that has looked before the wait began: its signal is checked where it is taken.
#[test]
fn a_signal_that_was_not_committed_when_the_wait_began_is_set_aside() {
    let cluster = Cluster::new();
    let (mut db, mut sender) = (cluster.admin(), cluster.admin());
    db.run(ASKS);
    db.run("SELECT wf_start('asks', id => 'a', delay => '1 s')");
    sender.run("BEGIN; SELECT wf_signal('a', 'approval', '\"perhaps\"')");
    db.waits_for("a", "signal \"approval\"");
    sender.run("COMMIT");
    eventually(SOON, "it is set aside", || {
        db.count("wf.signals WHERE id = 'a' AND refused IS NOT NULL") == 1
    });
    assert_eq!(db.status("a"), "waiting");
    db.run("SELECT wf_signal('a', 'approval', 'false')");
    assert_eq!(db.result("a"), json!(false));
}

#[test]
fn what_waits_is_found_among_many_that_have_ended() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(ASKS);
    db.run("SELECT wf_start('asks', id => 'a')");
    db.waits_for("a", "signal \"approval\"");
    db.run(
        "INSERT INTO wf_internal.runs (created_at, started_at, finished_at, run_id, seq, def_id, owner, priority, depth, status, id, input)
         SELECT now(), now(), now(), gen_random_uuid(), 1, r.def_id, r.owner, 0, 0, 'completed', 'ended ' || i, '{}'
         FROM wf_internal.runs r, generate_series(1, 200000) AS i;
         ANALYZE wf_internal.runs; ANALYZE wf_internal.waits",
    );
    let plan = db.all::<String>("EXPLAIN SELECT * FROM wf.waiting").join("\n");
    assert!(!plan.contains("Seq Scan on runs"), "{plan}");
    assert_eq!(db.all::<String>("SELECT id FROM wf.waiting"), ["a"]);
}

#[test]
fn the_time_for_all_attempts_goes_on_through_a_crash() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION fails() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'card declined' USING ERRCODE = 'P0042'; END $$;
         CREATE FUNCTION pays(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             RETURN wf_step('pay', 'fails', retry => '{\"max_attempts\": 0, \"first_delay\": \"2 s\", \"backoff\": 1, \"jitter\": 0}',
                            total_timeout => '3 s');
         END $$",
    );
    db.run("SELECT wf_start('pays', id => 'p')");
    db.waits_for("p", "retry 1");
    cluster.kill9();
    // So that the retry is due only when there is no time left for it.
    std::thread::sleep(Duration::from_secs(3));
    cluster.start();
    let mut db = cluster.admin();
    let failure = db.failure("p");
    assert_eq!(failure.sqlstate, "WF004");
    assert!(failure.message.contains("total timeout, in 1 attempt"), "{failure:?}");
    assert!(
        failure.detail.starts_with("All attempts together may take 3 s, since ")
            && failure.detail.ends_with("The last error was: card declined (P0042)."),
        "{failure:?}"
    );
    assert_eq!(db.one::<i32>("SELECT attempt FROM wf.steps WHERE id = 'p'"), 1);
}

#[test]
fn a_start_that_no_executor_comes_to_fails_in_time() {
    let cluster = Cluster::with(&["pg_workflow.max_executors = 1"]);
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION dozes(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('doze', 'SELECT pg_sleep(600)'); END $$;
         CREATE FUNCTION hello(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '\"hello\"'::jsonb $$",
    );
    db.run("SELECT wf_start('dozes', id => 'd')");
    db.in_step("d", "doze");
    let begun = Instant::now();
    db.run("SELECT wf_start('hello', id => 'late', start_timeout => '300 ms', timeout => '1 hour')");
    db.run("SELECT wf_start('hello', id => 'patient', start_timeout => '1 hour')");
    let failure = db.failure("late");
    assert_eq!(failure.sqlstate, "WF003");
    assert_eq!(
        failure.message,
        "workflow \"hello\" did not start within its start timeout"
    );
    assert!(failure.detail.contains(", 300 ms after "), "{failure:?}");
    // Its end wakes who waits for it, though no executor has been there.
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(db.status("patient"), "pending");
    assert_eq!(db.count("wf_internal.timers"), 1);
    db.run("SELECT wf_cancel('d')");
    assert_eq!(db.result("patient"), json!("hello"));
    assert_eq!(db.status("late"), "failed");
    eventually(SOON, "nothing is left", || {
        db.count("wf_internal.timers") == 0 && db.count("wf_internal.ready") == 0
    });
}

const CACHED: &str = "CREATE FUNCTION cached(x int) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_step('compute', 'SELECT $1::int', to_jsonb(x), cache_key => 'k', cache_ttl => '1 hour'); END $$";

#[test]
fn who_computes_the_same_at_once_does_not_wait() {
    let cluster = Cluster::new();
    let (mut db, mut slow, mut forgets) = (cluster.admin(), cluster.admin(), cluster.admin());
    db.run(CACHED);
    slow.run("BEGIN; SELECT wf_start('cached', '{\"x\": 1}', id => 'slow'); CALL wf_run_pending()");
    // Its entry is not committed: another computes its own and goes on.
    db.run("SELECT wf_start('cached', '{\"x\": 2}', id => 'quick')");
    assert_eq!(db.result("quick"), json!([2]));
    assert_eq!(db.count("wf_internal.cache"), 0);
    slow.run("COMMIT");
    assert_eq!(db.result("slow"), json!([1]));
    db.run("SELECT wf_start('cached', '{\"x\": 3}', id => 'third')");
    assert_eq!(db.result("third"), json!([1]));
    // Nor for who forgets: what is computed meanwhile is not kept.
    forgets.run("BEGIN; SELECT wf_cache_forget('k')");
    db.run("SELECT wf_start('cached', '{\"x\": 4}', id => 'meanwhile')");
    assert_eq!(db.result("meanwhile"), json!([1]));
    forgets.run("COMMIT");
    forgets.run("BEGIN; SELECT wf_cache_forget(NULL)");
    db.run("SELECT wf_start('cached', '{\"x\": 5}', id => 'not kept')");
    assert_eq!(db.result("not kept"), json!([5]));
    forgets.run("COMMIT");
    assert_eq!(db.count("wf_internal.cache"), 0);
}

#[test]
fn an_entry_is_there_if_and_only_if_its_step_is() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(CACHED);
    db.run("BEGIN; SELECT wf_start('cached', '{\"x\": 1}', id => 'a'); CALL wf_run_pending(); ROLLBACK");
    assert_eq!(db.count("wf_internal.cache"), 0);
    // Many at once, of all executors: each has an answer that some step has computed, and none fails.
    db.run(
        "SELECT wf_start('cached', jsonb_build_object('x', i), id => 'many ' || i) FROM generate_series(1, 500) AS i",
    );
    eventually(SOON, "all have ended", || {
        db.count("wf.workflows WHERE finished_at IS NOT NULL") == 500
    });
    assert_eq!(db.count("wf.workflows WHERE status <> 'completed'"), 0);
    let computed = db.count("wf.steps WHERE request IS NULL");
    assert!((1..=100).contains(&computed), "{computed}");
    assert_eq!(
        db.count("wf.steps s WHERE request IS NOT NULL AND NOT EXISTS (SELECT FROM wf.steps o WHERE o.request IS NULL AND o.result = s.result)"),
        0
    );
    assert_eq!(db.count("wf_internal.cache"), 1);
    assert!(!cluster.log().contains("deadlock"));
}
