//! Values and streams: who waits is woken by the commit that publishes, sees all of a stream once and in order, and only what
//! is its own.

use std::thread;
use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

/// Publishes what signals bring it, until one says that it is enough.
const ECHO: &str = "
    CREATE FUNCTION echo(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    DECLARE said jsonb;
    BEGIN
        LOOP
            said := wf_wait_signal('say');
            EXIT WHEN said = '\"enough\"';
            PERFORM wf_set('said', said);
            PERFORM wf_emit('all', said);
        END LOOP;
        RETURN said;
    END $$";

/// Waits until a session sleeps in one of our functions.
fn waits_in_function(db: &mut Client, sessions: i64) {
    eventually(SOON, "the client waits", || {
        db.count("pg_stat_activity WHERE wait_event = 'Extension' AND backend_type = 'client backend'") == sessions
    });
}

#[test]
fn a_commit_that_publishes_wakes_who_waits() {
    let cluster = Cluster::new();
    let (mut db, mut reader) = (cluster.admin(), cluster.admin());
    db.run(ECHO);
    db.run("SELECT wf_start('echo', id => 'e')");
    db.waits_for("e", "signal");
    // Places in shared memory come back from waits that were broken off: there are 256.
    reader.run("SET statement_timeout = '1 ms'");
    for _ in 0..300 {
        assert_eq!(
            reader
                .fails("SELECT wf_wait_value('e', 'said', wait => '1 h')")
                .sqlstate,
            "57014"
        );
    }
    reader.run("SET statement_timeout = '60 s'");
    let mut took = Vec::new();
    for round in 0..30 {
        let known = if round == 0 {
            "NULL".to_owned()
        } else {
            format!("'{}'", round - 1)
        };
        let waiting = if round % 2 == 0 {
            format!("SELECT wf_wait_value('e', 'said', '30 s', {known})")
        } else {
            "SELECT s.value FROM (SELECT coalesce(max(seq), 0) AS last FROM wf.streams WHERE id = 'e') l, wf_read_stream('e', 'all', l.last, '30 s') s".to_owned()
        };
        let begun = thread::scope(|scope| {
            let waiter = scope.spawn(|| reader.one::<Value>(&waiting));
            waits_in_function(&mut db, 1);
            let begun = Instant::now();
            db.run(&format!("SELECT wf_signal('e', 'say', '{round}')"));
            assert_eq!(waiter.join().unwrap(), json!(round));
            begun
        });
        took.push(begun.elapsed());
    }
    took.sort();
    // Who looks from time to time would need 100 ms in the mean.
    assert!(took[took.len() / 2] < Duration::from_millis(80), "{took:?}");
    assert_eq!(
        reader.all::<Value>("SELECT value FROM wf_read_stream('e', 'all')"),
        (0..30).map(|n| json!(n)).collect::<Vec<_>>()
    );
}

#[test]
fn the_end_of_the_run_ends_the_wait() {
    let cluster = Cluster::new();
    let (mut db, mut reader, mut other) = (cluster.admin(), cluster.admin(), cluster.admin());
    db.run(ECHO);
    db.run("SELECT wf_start('echo', id => 'e')");
    db.waits_for("e", "signal");
    thread::scope(|scope| {
        let value = scope.spawn(|| reader.one::<Option<Value>>("SELECT wf_wait_value('e', 'said', '50 s')"));
        let stream = scope.spawn(|| other.count("wf_read_stream('e', 'all', wait => '50 s')"));
        waits_in_function(&mut db, 2);
        let begun = Instant::now();
        db.run("SELECT wf_signal('e', 'say', '\"enough\"')");
        assert_eq!(value.join().unwrap(), None);
        assert_eq!(stream.join().unwrap(), 0);
        assert!(begun.elapsed() < SOON);
    });
}

#[test]
fn the_wait_goes_over_to_the_next_run_of_the_id() {
    let cluster = Cluster::new();
    let (mut db, mut reader) = (cluster.admin(), cluster.admin());
    db.run(ECHO);
    db.run("SELECT wf_start('echo', id => 'e')");
    db.waits_for("e", "signal");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| reader.one::<Option<Value>>("SELECT wf_wait_value('e', 'said', '50 s')"));
        waits_in_function(&mut db, 1);
        // One run ends and the next begins in one transaction.
        db.run(
            "BEGIN;
             SELECT wf_signal('e', 'say', '\"enough\"');
             CALL wf_run_pending();
             SELECT wf_start('echo', id => 'e', on_conflict => 'start_new');
             COMMIT",
        );
        eventually(SOON, "the next run waits", || db.status("e") == "waiting");
        waits_in_function(&mut db, 1);
        let begun = Instant::now();
        db.run("SELECT wf_signal('e', 'say', '2')");
        assert_eq!(waiter.join().unwrap(), Some(json!(2)));
        assert!(begun.elapsed() < SOON);
    });
}

#[test]
fn values_and_streams_are_for_those_with_the_owners_privileges() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN; GRANT alice TO carol");
    db.run(ECHO);
    let mut alice = cluster.connect("postgres", "alice");
    alice.run("SELECT wf_start('echo', id => 'e')");
    alice.waits_for("e", "signal");
    alice.run("SELECT wf_signal('e', 'say', '1')");
    for role in ["alice", "carol", "postgres"] {
        let mut session = cluster.connect("postgres", role);
        assert_eq!(session.one::<Value>("SELECT wf_wait_value('e', 'said')"), json!(1));
        assert_eq!(session.count("wf_read_stream('e', 'all')"), 1);
        assert_eq!(session.count("wf.streams"), 1);
    }
    let mut bob = cluster.connect("postgres", "bob");
    assert_eq!(bob.fails("SELECT wf_wait_value('e', 'said')").sqlstate, "42704");
    assert_eq!(bob.fails("SELECT wf_read_stream('e', 'all')").sqlstate, "42704");
    assert_eq!(bob.count("wf.streams"), 0);
    // A function that is cheap to try does not get to see the rows that the view holds back.
    bob.run(
        "CREATE FUNCTION pg_temp.leak(value jsonb) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS $$
         BEGIN RAISE 'leaked %', value; END $$",
    );
    bob.run("SELECT * FROM wf.streams WHERE pg_temp.leak(value)");
}

#[test]
fn a_crash_neither_loses_nor_doubles_what_was_emitted() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION emits(n int) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             FOR i IN 1..n LOOP
                 PERFORM wf_emit('line', to_jsonb(i));
                 PERFORM wf_step('work', 'SELECT pg_sleep(0.004)');
             END LOOP;
             RETURN to_jsonb(n);
         END $$",
    );
    db.run("SELECT wf_start('emits', '{\"n\": 200}', id => 'e')");
    let mut random = Random::new();
    let mut seen: Vec<i32> = Vec::new();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(100 + random.below(150)));
        seen.extend(
            db.all::<i32>("SELECT value::int FROM wf_read_stream('e', 'line') ORDER BY seq")
                .into_iter()
                .skip(seen.len()),
        );
        cluster.kill9();
        cluster.start();
        db = cluster.admin();
    }
    assert_eq!(db.result("e"), json!(200));
    let all = db.all::<i32>("SELECT value::int FROM wf_read_stream('e', 'line')");
    assert_eq!(all, (1..=200).collect::<Vec<_>>());
    // What a reader has seen stays as it was.
    assert!(!seen.is_empty() && all.starts_with(&seen), "{seen:?}");
}

#[test]
fn a_standby_shows_what_it_has_replayed() {
    let primary = Cluster::new();
    let mut db = primary.admin();
    db.run(ECHO);
    db.run("SELECT wf_start('echo', id => 'e')");
    db.waits_for("e", "signal");
    let standby = primary.standby();
    let mut copy = standby.admin();
    eventually(SOON, "the standby follows", || {
        copy.count("wf.workflows WHERE id = 'e' AND status = 'waiting'") == 1
    });
    thread::scope(|scope| {
        let waiter = scope.spawn(|| copy.one::<Option<Value>>("SELECT wf_wait_value('e', 'said', '50 s')"));
        db.run("SELECT wf_signal('e', 'say', '1')");
        assert_eq!(waiter.join().unwrap(), Some(json!(1)));
    });
}
