//! What a backlog, an old snapshot, many timers at once and large values must not do.

use std::thread::available_parallelism;
use std::time::Duration;

use pg_workflow_server_tests::*;

/// Ample for tens of thousands of instances on a busy machine.
const LONG: Duration = Duration::from_secs(60);

const QUICK: &str = "CREATE TABLE effects (n int, at timestamptz DEFAULT clock_timestamp());
    CREATE FUNCTION quick(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_step('add', 'INSERT INTO effects VALUES (($1->>''n'')::int)', input); END $$";

fn start_quick(db: &mut Client, count: i32) {
    db.run(&format!(
        "SELECT count(wf_start('quick', jsonb_build_object('n', n))) FROM generate_series(1, {count}) n"
    ));
}

fn drained(db: &mut Client, effects: i64) {
    eventually(LONG, "all are done", || db.count("effects") == effects);
    eventually(SOON, "the queue is empty", || db.count("wf_internal.ready") == 0);
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT n) FROM effects"), effects);
}

/// Deleted rows of the queue cannot go while somebody might see them. They are not to be read again by each claim.
#[test]
fn an_old_snapshot_does_not_make_claims_dear() {
    const COUNT: i32 = 10_000;
    let cluster = Cluster::with(&["autovacuum = off", "pg_workflow.max_executors = 1"]);
    let mut db = cluster.admin();
    db.run(QUICK);
    let mut old = cluster.admin();
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    start_quick(&mut db, COUNT);
    drained(&mut db, i64::from(COUNT));
    let mut reads = 0;
    eventually(SOON, "the executor reports", || {
        reads = db.one::<i64>("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'ready_pkey'");
        reads >= i64::from(COUNT)
    });
    // Claims from the start of the queue would read half of its rows on average, each.
    let transactions: i64 = db.one("SELECT count(DISTINCT xmin::text) FROM wf_internal.steps");
    let all_from_start = transactions * i64::from(COUNT) / 2;
    assert!(
        reads < all_from_start / 2,
        "{reads} rows read in {transactions} transactions"
    );

    // What comes in before the place at which claims are looked for is found all the same.
    db.run("SELECT wf_start('quick', '{\"n\": 0}', priority => -1)");
    eventually(SOON, "it is found", || db.count("effects WHERE n = 0") == 1);
    // So is a start whose place in the queue was given long before its commit.
    let mut late = cluster.admin();
    late.run("BEGIN; SELECT wf_start('quick', '{\"n\": -1}')");
    start_quick(&mut db, 2_000);
    eventually(LONG, "the others are done", || {
        db.count("effects") == i64::from(COUNT) + 2_001
    });
    late.run("COMMIT");
    eventually(SOON, "it is found", || db.count("effects WHERE n = -1") == 1);
}

/// The same for timers that were moved.
#[test]
fn an_old_snapshot_does_not_hide_timers() {
    let cluster = Cluster::with(&["autovacuum = off"]);
    let mut db = cluster.admin();
    db.run(QUICK);
    let mut old = cluster.admin();
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    db.run(
        "SELECT count(wf_start('quick', jsonb_build_object('n', n), delay => '1 s')) FROM generate_series(1, 10000) n",
    );
    drained(&mut db, 10_000);
    // Due before those that were moved last, but for the one that is due at once.
    let mut late = cluster.admin();
    late.run("BEGIN; SELECT wf_start('quick', '{\"n\": -1}', delay => '10 ms')");
    db.run("SELECT count(wf_start('quick', jsonb_build_object('n', n), delay => '50 ms')) FROM generate_series(10001, 12000) n");
    eventually(LONG, "the others are done", || db.count("effects") == 12_000);
    late.run("COMMIT");
    eventually(SOON, "it runs", || db.count("effects WHERE n = -1") == 1);
}

#[test]
fn many_due_at_the_same_instant_all_run() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(QUICK);
    db.run(
        "SELECT count(wf_start('quick', jsonb_build_object('n', n), start_at => now() + interval '2 s'))
         FROM generate_series(1, 10000) n",
    );
    assert_eq!(db.count("effects"), 0);
    drained(&mut db, 10_000);
    assert_eq!(db.count("wf_internal.timers"), 0);
}

/// Only as many executors as there are processors are woken for quick steps. Slow ones do not count.
#[test]
fn slow_steps_run_side_by_side_and_quick_ones_beside_them() {
    let executors = available_parallelism().map_or(1, usize::from) + 3;
    let cluster = Cluster::with(&[
        &format!("pg_workflow.max_executors = {executors}"),
        "max_worker_processes = 40",
    ]);
    let mut db = cluster.admin();
    db.run(QUICK);
    db.run(
        "CREATE FUNCTION nap(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('nap', 'SELECT pg_sleep(1)'); END $$",
    );
    db.run(&format!(
        "SELECT count(wf_start('nap')) FROM generate_series(1, {})",
        4 * (executors - 1)
    ));
    eventually(SOON, "many are in a slow step", || {
        db.count("wf.workers WHERE kind = 'executor' AND step = 'nap'") >= executors as i64 - 1
    });
    // Of a higher priority than the naps in the queue: served by whoever is free next.
    db.run(
        "SELECT count(wf_start('quick', jsonb_build_object('n', n), priority => -1)) FROM generate_series(1, 1000) n",
    );
    eventually(SOON, "the quick ones are done", || db.count("effects") == 1_000);
    assert!(
        db.count("wf.workflows WHERE status <> 'completed'") > 0,
        "naps are left"
    );
    eventually(LONG, "all have slept", || {
        db.count("wf.workflows WHERE status <> 'completed'") == 0
    });
}

/// Inputs and results of a megabyte lie outside of the rows that every turn rewrites.
#[test]
fn a_megabyte_is_not_in_the_way() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION large(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         DECLARE r jsonb;
         BEGIN
             r := wf_step('echo', 'SELECT $1->''text''', input);
             r := wf_step('again', 'SELECT $1->''text''', input);
             PERFORM wf_sleep('10 ms');
             RETURN r->0;
         END $$;
         CREATE FUNCTION noise(seed int) RETURNS text LANGUAGE sql AS
             $$ SELECT string_agg(md5((seed * 100000 + i)::text), '') FROM generate_series(1, 32768) i $$",
    );
    for i in 1..=10 {
        db.run(&format!(
            "SELECT wf_start('large', jsonb_build_object('text', noise({i})), id => 'large-{i}')"
        ));
    }
    for i in 1..=10 {
        assert!(db.one::<bool>(&format!("SELECT wf_result('large-{i}', '30 s') = to_jsonb(noise({i}))")));
    }
    let pages: i64 = db.one(
        "SELECT sum(pg_relation_size(r))::bigint FROM unnest('{wf_internal.runs,wf_internal.steps}'::regclass[]) r",
    );
    assert!(pages <= 10 * 8192, "{pages} bytes");
}
