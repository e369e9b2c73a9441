//! Reads outside of steps are pointed out once a version, whatever happens meanwhile.

use pg_workflow_server_tests::*;

const READS: &str = "CREATE OR REPLACE FUNCTION reads(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM count(*) FROM t;
        RETURN wf_step('one', 'SELECT count(*) FROM in_a_step');
    END $$";

fn prepare(cluster: &Cluster) -> Client {
    let mut db = cluster.admin();
    db.run("CREATE TABLE t (n int); CREATE TABLE in_a_step (n int)");
    db.run(READS);
    // All sessions find the same definition, whatever is committed when.
    db.run("SELECT wf_define('reads', 'reads')");
    db
}

fn start(db: &mut Client, ids: std::ops::Range<u32>) {
    for id in ids.clone() {
        db.run(&format!("SELECT wf_start('reads', id => '{id}')"));
    }
    for id in ids {
        assert_eq!(db.result(&id.to_string()), json!([0]));
    }
}

const WARNING: &str = "outside of a step";

#[test]
fn it_is_warned_of_once_a_version() {
    let cluster = Cluster::new();
    let mut db = prepare(&cluster);
    start(&mut db, 0..30);
    assert_eq!(
        cluster.logged("WARNING:  version 1 of workflow \"reads\" reads public.t outside of a step"),
        1
    );
    // Other options and another search_path are other definitions of the same version.
    db.run("SET search_path = public, pg_catalog");
    start(&mut db, 30..35);
    assert_eq!(cluster.logged(WARNING), 1);
    // What is recorded outlives the server.
    cluster.kill9();
    cluster.start();
    let mut db = cluster.admin();
    start(&mut db, 35..40);
    assert_eq!(cluster.logged(WARNING), 1);
    db.run(&READS.replace("count(*) FROM t", "1 FROM t, in_a_step"));
    start(&mut db, 40..45);
    assert_eq!(
        cluster.logged("WARNING:  version 2 of workflow \"reads\" reads public.t "),
        1
    );
    assert_eq!(cluster.logged(WARNING), 3);
    assert_eq!(
        db.all::<String>("SELECT version || ' ' || relation FROM wf.remarks ORDER BY 1"),
        ["1 public.t", "2 public.in_a_step", "2 public.t"]
    );
}

#[test]
fn nobody_waits_for_another_that_records_it() {
    let cluster = Cluster::new();
    let mut db = prepare(&cluster);
    let mut other = cluster.admin();
    other.run("BEGIN");
    other.run("SELECT wf_start('reads', id => 'uncommitted')");
    other.run("CALL wf_run_pending()");
    assert_eq!(other.count("wf.remarks"), 1);
    // The executor finds it taken in hand, and goes on.
    start(&mut db, 0..3);
    assert_eq!(db.count("wf.remarks"), 0);
    other.run("ROLLBACK");
    // What was rolled back is recorded by the next.
    start(&mut db, 3..4);
    assert_eq!(db.count("wf.remarks"), 1);
}

#[test]
fn one_snapshot_is_no_reason_to_fail() {
    let cluster = Cluster::new();
    let mut db = prepare(&cluster);
    let mut other = cluster.admin();
    other.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(other.count("wf.remarks"), 0);
    start(&mut db, 0..1);
    assert_eq!(db.count("wf.remarks"), 1);
    other.run("SELECT wf_start('reads', id => 'snapshot')");
    other.run("CALL wf_run_pending()");
    other.run("COMMIT");
    assert_eq!(db.result("snapshot"), json!([0]));
}

#[test]
fn clients_and_steps_are_not_watched() {
    let cluster = Cluster::new();
    let mut db = prepare(&cluster);
    db.run(
        "CREATE PROCEDURE only_steps(INOUT result jsonb) LANGUAGE plpgsql AS $$
         BEGIN
             FOR i IN 1..200 LOOP
                 CALL wf_step('one', 'SELECT count(*) FROM t', '{}', result);
             END LOOP;
         END $$",
    );
    db.run("SELECT wf_start('only_steps', id => 'steps')");
    assert_eq!(db.result("steps"), json!([0]));
    assert_eq!(db.count("t"), 0);
    assert_eq!(db.count("wf.remarks"), 0);
    assert_eq!(cluster.logged(WARNING), 0);
}
