//! Promise 2: starts, signals and cancels take effect when the caller's transaction commits, and not at all when it rolls
//! back, however long it stays open. A signal that comes early is kept, and none is lost.

use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

const HELLO: &str = "CREATE FUNCTION hello(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_step('greet', 'SELECT ''hello''')->0; END $$";

const WAITS: &str = "CREATE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_wait_signal('go'); END $$";

#[test]
fn a_start_held_open_for_ten_seconds_neither_runs_nor_disturbs() {
    let cluster = Cluster::new();
    let (mut holder, mut other) = (cluster.admin(), cluster.admin());
    other.run(HELLO);
    holder.run("BEGIN");
    // The very first start of this workflow: its definition's row is uncommitted too.
    holder.run("SELECT wf_start('hello', id => 'held')");

    other.run("SET statement_timeout = '5 s'");
    let mut took = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        let one = Instant::now();
        let id: String = other.one("SELECT wf_start('hello')");
        assert_eq!(other.result(&id), json!("hello"));
        took.push(one.elapsed());
        assert_eq!(other.count("wf.workflows WHERE id = 'held'"), 0);
    }
    took.sort();
    let median = took[took.len() / 2];
    assert!(took.len() > 100, "only {} in 10 s", took.len());
    assert!(median < Duration::from_millis(50), "median {median:?}");
    // The first one starts the executor.
    assert!(
        took[took.len() - 2] < Duration::from_secs(1),
        "longest {:?}",
        took.last()
    );

    holder.run("COMMIT");
    let committed = Instant::now();
    assert_eq!(other.result("held"), json!("hello"));
    assert!(
        committed.elapsed() < Duration::from_secs(1),
        "{:?}",
        committed.elapsed()
    );
}

#[test]
fn what_is_rolled_back_leaves_nothing_and_stalls_nobody() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(HELLO);
    db.run(WAITS);
    db.run("SELECT wf_start('waits', id => 'w')");
    db.waits_for("w", "signal \"go\"");
    for _ in 0..20 {
        db.run("BEGIN; SELECT wf_start('hello', id => 'gone'); SELECT wf_signal('w', 'go', '1'); SELECT wf_cancel('w'); ROLLBACK");
    }
    assert_eq!(
        db.fails(
            "SELECT wf_start('hello', id => 'gone'); SELECT wf_signal('w', 'go'); SELECT wf_cancel('w'); SELECT 1/0"
        )
        .sqlstate,
        "22012"
    );
    let begun = Instant::now();
    db.run("SELECT wf_start('hello', id => 'next')");
    assert_eq!(db.result("next"), json!("hello"));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());

    assert_eq!(db.fails("SELECT wf_status('gone')").sqlstate, "42704");
    assert_eq!(db.count("wf_internal.runs"), 2);
    for table in ["signals", "controls", "timers", "ready"] {
        eventually(SOON, table, || db.count(&format!("wf_internal.{table}")) == 0);
    }
    throughout(Duration::from_millis(300), "w waits on", || db.status("w") == "waiting");
    db.run("SELECT wf_signal('w', 'go', '2')");
    assert_eq!(db.result("w"), json!(2));
}

#[test]
fn savepoints_take_their_part_back() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(HELLO);
    db.run(WAITS);
    db.run(
        "BEGIN;
         SELECT wf_start('hello', id => 'a');
         SAVEPOINT s;
         SELECT wf_start('hello', id => 'b');
         ROLLBACK TO s;
         SELECT wf_start('hello', id => 'c');
         SELECT wf_start('waits', id => 'w');
         SAVEPOINT t;
         SELECT wf_signal('w', 'go', '\"taken back\"');
         SELECT wf_cancel('a');
         ROLLBACK TO t;
         SELECT wf_signal('w', 'go', '\"kept\"');
         COMMIT",
    );
    assert_eq!(db.result("a"), json!("hello"));
    assert_eq!(db.result("c"), json!("hello"));
    assert_eq!(db.result("w"), json!("kept"));
    assert_eq!(db.fails("SELECT wf_status('b')").sqlstate, "42704");
    // A block that catches its error is a savepoint too.
    db.run(
        "DO $$ BEGIN
             BEGIN PERFORM wf_start('hello', id => 'd'); RAISE 'no'; EXCEPTION WHEN raise_exception THEN NULL; END;
             PERFORM wf_start('hello', id => 'e');
         END $$",
    );
    assert_eq!(db.result("e"), json!("hello"));
    assert_eq!(db.count("wf.workflows"), 4);
    assert_eq!(db.count("wf.signals"), 1);
}

#[test]
fn a_signal_before_the_wait_is_kept_in_order() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION three(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_sleep('100 ms');
             RETURN jsonb_build_array(wf_wait_signal('go'), wf_wait_signal('go'), wf_wait_signal('other'));
         END $$",
    );
    // In the transaction of the start, before its first turn, and while it sleeps.
    db.run("BEGIN; SELECT wf_start('three', id => 's'); SELECT wf_signal('s', 'go', '1'); COMMIT");
    db.run("SELECT wf_signal('s', 'other', '3')");
    db.run("SELECT wf_signal('s', 'go', '2', key => 'k')");
    assert!(!db.one::<bool>("SELECT wf_signal('s', 'go', '2', key => 'k')"));
    assert_eq!(db.result("s"), json!([1, 2, 3]));
    assert_eq!(
        db.count("wf.signals WHERE consumed_at IS NOT NULL AND consumed_by IS NOT NULL"),
        3
    );
    assert_eq!(db.count("wf.signals"), 3);

    db.run("SELECT wf_start('three', id => 'delayed', delay => '500 ms')");
    for n in 1..=2 {
        db.run(&format!("SELECT wf_signal('delayed', 'go', '{n}')"));
    }
    db.run("SELECT wf_signal('delayed', 'other', '3')");
    assert_eq!(db.result("delayed"), json!([1, 2, 3]));
}

/// Signals of steps: many to one instance in one transaction, from a step that then fails, and from a deferred trigger, which
/// runs at the commit itself.
#[test]
fn signals_of_steps_wake_whom_they_are_for() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(WAITS);
    db.run(
        "CREATE TABLE work (id text);
         CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM wf_signal(NEW.id, 'go', '\"deferred\"'); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER tell AFTER INSERT ON work DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION tell();
         CREATE FUNCTION works(id text) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN PERFORM wf_step('work', 'INSERT INTO work VALUES ($1->>0)', jsonb_build_array(id)); END $$;
         CREATE FUNCTION unit(n int) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN PERFORM wf_step('tell', 'SELECT wf_signal(''parent'', ''done'', $1)', to_jsonb(n)); END $$;
         CREATE FUNCTION fails(id text) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN PERFORM wf_step('tell', 'SELECT wf_signal($1->>0, ''go''), 1/0', jsonb_build_array(id)); END $$;
         CREATE PROCEDURE parent(units int, INOUT result int DEFAULT 0) LANGUAGE plpgsql AS $$
         DECLARE n jsonb;
         BEGIN
             CALL wf_step('start', 'SELECT wf_start(''unit'', jsonb_build_object(''n'', n)) FROM generate_series(1, $1::int) n', to_jsonb(units), n);
             FOR i IN 1..units LOOP
                 CALL wf_wait_signal('done', NULL, n);
                 result := result + n::int;
             END LOOP;
         END $$",
    );
    db.run("SELECT wf_start('waits', id => 'deferred'); SELECT wf_start('waits', id => 'failing')");
    eventually(SOON, "both wait", || {
        db.count("wf.workflows WHERE status = 'waiting'") == 2
    });
    db.run("SELECT wf_start('works', '{\"id\": \"deferred\"}')");
    assert_eq!(db.result("deferred"), json!("deferred"));
    db.run("SELECT wf_start('fails', '{\"id\": \"failing\"}', id => 'fails')");
    assert_eq!(db.failure("fails").sqlstate, "22012");
    assert_eq!(db.one::<String>("SELECT wf_status('failing')"), "waiting");

    db.run("SELECT wf_start('parent', '{\"units\": 1000}', id => 'parent')");
    assert_eq!(db.result("parent"), json!(500_500));
    eventually(SOON, "no hint is left", || db.count("wf_internal.ready") == 0);
}

#[test]
fn a_signal_at_the_moment_of_the_timeout_is_taken_or_left() {
    const INSTANCES: usize = 300;
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION races(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         DECLARE got jsonb := wf_wait_signal('go', timeout => (input->>'ms')::int * interval '1 ms');
         BEGIN
             PERFORM wf_wait_signal('end');
             RETURN coalesce(got, '\"timeout\"');
         END $$",
    );
    // Timeouts of 400 ms and up, one each ms; a signal to each at about its time: before it for the first, after it for
    // the last.
    db.run(&format!(
        "SELECT wf_start('races', jsonb_build_object('ms', 400 + i), id => 'r-' || i) FROM generate_series(1, {INSTANCES}) i"
    ));
    db.run("SELECT wf_signal('r-' || i, 'go', to_jsonb(i)) FROM generate_series(1, 20) i");
    let begun = Instant::now();
    for i in 21..=INSTANCES {
        let at = Duration::from_millis(370 + i as u64);
        if i <= INSTANCES - 20 {
            std::thread::sleep(at.saturating_sub(begun.elapsed()));
        } else {
            db.waits_for(&format!("r-{i}"), "signal \"end\"");
        }
        db.run(&format!("SELECT wf_signal('r-{i}', 'go', '{i}')"));
    }
    db.run(&format!(
        "SELECT wf_signal('r-' || i, 'end') FROM generate_series(1, {INSTANCES}) i"
    ));
    eventually(SOON, "all end", || {
        db.count("wf.workflows WHERE status = 'completed'") == INSTANCES as i64
    });

    let rows = db
        .query(
            "SELECT w.id, w.result, s.payload, s.consumed_at IS NOT NULL AND s.consumed_by = 'go'
             FROM wf.workflows w JOIN wf.signals s ON s.id = w.id AND s.name = 'go'",
            &[],
        )
        .unwrap();
    assert_eq!(rows.len(), INSTANCES);
    let mut taken = 0;
    for row in rows {
        let (id, result, payload): (String, Value, Value) = (row.get(0), row.get(1), row.get(2));
        let consumed = row.get::<_, Option<bool>>(3).unwrap_or(false);
        taken += usize::from(consumed);
        assert_eq!(result, if consumed { payload } else { json!("timeout") }, "{id}");
    }
    assert!((20..=INSTANCES - 20).contains(&taken), "{taken} taken");
}

#[test]
fn a_signal_to_an_instance_that_is_ending_is_kept_or_refused() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(HELLO);
    db.run("SET statement_timeout = '10 s'");
    let (mut accepted, mut refused) = (0, 0);
    for i in 0..300 {
        db.run(&format!("SELECT wf_start('hello', id => 'e-{i}')"));
        // At various distances from its end.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_micros(i * 20) {
            std::hint::spin_loop();
        }
        match db.attempt(&format!("SELECT wf_signal('e-{i}', 'go')")) {
            Ok(()) => {
                accepted += 1;
                assert_eq!(
                    db.count(&format!("wf.signals WHERE id = 'e-{i}' AND consumed_at IS NULL")),
                    1
                );
            }
            Err(failure) => {
                refused += 1;
                assert_eq!(failure.sqlstate, "55000", "{failure:?}");
                assert_eq!(failure.detail, "Its status is completed.");
            }
        }
    }
    eventually(SOON, "all end", || {
        db.count("wf.workflows WHERE status = 'completed'") == 300
    });
    eventually(SOON, "no hint is left", || db.count("wf_internal.ready") == 0);
    assert_eq!((accepted, refused), (db.count("wf.signals"), 300 - accepted));
    assert!(refused > 0, "none had ended");
}

#[test]
fn eight_sessions_start_and_signal_the_same_ids_at_once() {
    const IDS: i64 = 40;
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION eight(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         DECLARE sum int := 0;
         BEGIN
             FOR i IN 1..8 LOOP sum := sum + wf_wait_signal('go')::int; END LOOP;
             RETURN sum;
         END $$",
    );
    std::thread::scope(|scope| {
        for session in 1..=8 {
            let cluster = &cluster;
            scope.spawn(move || {
                let mut db = cluster.admin();
                for n in 0..IDS {
                    let id: String = db.one(&format!("SELECT wf_start('eight', '{{\"n\": {n}}}', id => 'x-{n}')"));
                    assert_eq!(id, format!("x-{n}"));
                    assert!(db.one::<bool>(&format!(
                        "SELECT wf_signal('x-{n}', 'go', '{session}', key => 's{session}')"
                    )));
                }
            });
        }
    });
    for n in 0..IDS {
        assert_eq!(db.result(&format!("x-{n}")), json!(36));
    }
    assert_eq!(db.count("wf_internal.runs"), IDS);
    assert_eq!(db.count("wf.signals WHERE consumed_at IS NOT NULL"), IDS * 8);
    eventually(SOON, "no hint is left", || db.count("wf_internal.ready") == 0);
}

#[test]
fn starting_the_same_again_is_starting_once() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(HELLO);
    db.run(WAITS);
    let start = "SELECT wf_start('hello', '{\"a\": 1}', id => 'x')";
    assert_eq!(db.one::<String>(start), "x");
    assert_eq!(db.one::<String>(start), "x");
    assert_eq!(db.result("x"), json!("hello"));
    assert_eq!(db.one::<String>(start), "x");
    let other_input = db.fails("SELECT wf_start('hello', '{\"a\": 2}', id => 'x')");
    assert_eq!(
        (other_input.sqlstate.as_str(), other_input.detail.as_str()),
        ("42710", "It was started with another input.")
    );
    assert!(!other_input.hint.is_empty());
    let other_workflow = db.fails("SELECT wf_start('waits', '{\"a\": 1}', id => 'x')");
    assert_eq!(other_workflow.sqlstate, "42710");
    assert_eq!(
        other_workflow.detail,
        "It runs public.hello(input jsonb), not public.waits(input jsonb)."
    );
    let refused = db.fails("SELECT wf_start('hello', '{\"a\": 1}', id => 'x', on_conflict => 'fail')");
    assert_eq!(
        (refused.sqlstate.as_str(), refused.detail.as_str()),
        ("42710", "Its status is completed.")
    );
    assert_eq!(db.count("wf.workflows"), 1);
    db.run("SELECT wf_start('hello', '{\"a\": 2}', id => 'x', on_conflict => 'start_new')");
    db.result("x");
    assert_eq!(
        db.all::<i32>("SELECT run FROM wf.workflows WHERE id = 'x' ORDER BY run"),
        [1, 2]
    );
    assert_eq!(db.count("wf.steps WHERE id = 'x'"), 2);
}

#[test]
fn two_phase_commit_is_refused() {
    let cluster = Cluster::with(&["max_prepared_transactions = 5"]);
    let mut db = cluster.admin();
    db.run(HELLO);
    db.run(WAITS);
    db.run("SELECT wf_start('waits', id => 'w')");
    for call in [
        "SELECT wf_start('hello', id => 'p')",
        "SELECT wf_signal('w', 'go')",
        "SELECT wf_cancel('w')",
    ] {
        db.run("BEGIN");
        db.run(call);
        assert_eq!(db.fails("PREPARE TRANSACTION 'p'").sqlstate, "0A000", "{call}");
        db.run("ROLLBACK");
    }
    assert_eq!(db.count("pg_prepared_xacts"), 0);
    assert_eq!(db.count("wf_internal.runs"), 1);
    // One that has nothing to do with workflows is none of our business.
    db.run("BEGIN; CREATE TABLE t (i int); PREPARE TRANSACTION 'p'");
    db.run("COMMIT PREPARED 'p'");
    db.waits_for("w", "signal \"go\"");
}
