//! Moving instances to newer code and removing what has ended, beside everything else that goes on.

use std::time::Duration;

use pg_workflow_server_tests::*;

/// A function that waits for `go` and returns `word`.
fn waiting(db: &mut Client, name: &str, word: &str) {
    db.run(&format!(
        "CREATE OR REPLACE FUNCTION {name}(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN PERFORM wf_wait_signal('go'); RETURN to_jsonb('{word}'::text); END $$"
    ));
}

/// Version numbers that are kept of a workflow.
fn versions(db: &mut Client, workflow: &str) -> Vec<i32> {
    db.all(&format!(
        "SELECT DISTINCT version FROM wf.definitions WHERE workflow = '{workflow}' ORDER BY version"
    ))
}

fn purge(db: &mut Client) -> i32 {
    db.one("SELECT wf_purge('0')")
}

fn version_goes(db: &mut Client, workflow: &str, version: i32) {
    eventually(SOON, &format!("version {version} of {workflow} goes"), || {
        purge(db);
        !versions(db, workflow).contains(&version)
    });
}

#[test]
fn an_upgrade_waits_for_nobody_and_nobody_is_lost_behind_it() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    waiting(&mut db, "flow", "old");
    db.run("SELECT wf_start('flow', id => 'a'), wf_start('flow', id => 'b')");
    db.waits_for("a", "signal");
    db.waits_for("b", "signal");
    waiting(&mut db, "flow", "new");

    // Signalled while the upgrade is not committed: the executor leaves the run aside, and takes it up again at its end.
    let mut other = cluster.admin();
    for (id, end, word) in [("a", "COMMIT", "new"), ("b", "ROLLBACK", "old")] {
        other.run(&format!("BEGIN; SELECT wf_upgrade('{id}')"));
        db.run(&format!("SELECT wf_signal('{id}', 'go')"));
        throughout(Duration::from_millis(300), "it is held", || db.status(id) == "waiting");
        assert_eq!(db.fails(&format!("SELECT wf_upgrade('{id}')")).sqlstate, "55006");
        other.run(end);
        assert_eq!(db.result(id), json!(word));
    }

    // An executor is at it.
    let slow = |name: &str, word: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION {name}(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
             BEGIN
                 PERFORM wf_step('slow', 'SELECT pg_sleep(2)');
                 PERFORM wf_wait_signal('go');
                 RETURN to_jsonb('{word}'::text);
             END $$"
        )
    };
    db.run(&slow("slow", "old"));
    db.run("SELECT wf_start('slow', id => 'slow')");
    db.in_step("slow", "slow");
    db.run(&slow("slow", "new"));
    let failure = db.fails("SELECT wf_upgrade('slow')");
    assert_eq!(failure.sqlstate, "55006", "{failure:?}");
    assert!(failure.hint.contains("A process is at a step of it"), "{failure:?}");
    // A look at it is no hindrance.
    assert!(db.one::<bool>("SELECT bool_and(ok) FROM wf_replay_check('slow')"));
    db.waits_for("slow", "signal");
    db.run("SELECT wf_upgrade('slow'); SELECT wf_signal('slow', 'go')");
    assert_eq!(db.result("slow"), json!("new"));
}

#[test]
fn an_upgrade_in_the_middle_of_a_chain_does_no_step_twice() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE TABLE effects (n bigserial, what text);
         CREATE FUNCTION effect(what text) RETURNS void LANGUAGE sql AS $$ INSERT INTO effects (what) VALUES (what) $$",
    );
    // Long enough to be met on its way, as a function that is replayed and as a procedure whose steps run in place; at the
    // latest where it sleeps.
    let function = |word: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION chain_f(n int) RETURNS jsonb LANGUAGE plpgsql AS $$
             BEGIN
                 FOR i IN 1..n LOOP PERFORM wf_step('link', 'effect', jsonb_build_object('what', i)); IF i = n / 2 THEN PERFORM wf_sleep('1 s'); END IF; END LOOP;
                 RETURN to_jsonb('{word}'::text);
             END $$"
        )
    };
    let procedure = |word: &str| {
        format!(
            "CREATE OR REPLACE PROCEDURE chain_p(n int, INOUT result jsonb) LANGUAGE plpgsql AS $$
             BEGIN
                 FOR i IN 1..n LOOP CALL wf_step('link', 'effect', jsonb_build_object('what', i), result); IF i = n / 2 THEN PERFORM wf_sleep('1 s'); END IF; END LOOP;
                 result := to_jsonb('{word}'::text);
             END $$"
        )
    };
    for (name, n, code) in [
        ("chain_f", 300, &function as &dyn Fn(&str) -> String),
        ("chain_p", 3000, &procedure),
    ] {
        db.run("TRUNCATE effects");
        db.run(&code("old"));
        db.run(&format!("SELECT wf_start('{name}', '{{\"n\": {n}}}', id => '{name}')"));
        eventually(SOON, "some steps", || db.count("effects") > 5);
        db.run(&code("new"));
        eventually(SOON, "between two transactions", || {
            match db.attempt(&format!("SELECT wf_upgrade('{name}')")) {
                Ok(()) => true,
                Err(failure) => {
                    assert_eq!(failure.sqlstate, "55006", "{failure:?}");
                    false
                }
            }
        });
        assert_eq!(db.result(name), json!("new"), "{name}");
        let (rows, different): (i64, i64) = (
            db.count("effects"),
            db.one("SELECT count(DISTINCT what::int) FROM effects"),
        );
        assert_eq!((rows, different), (n, n), "{name}");
    }
}

#[test]
fn replays_run_in_a_session_of_the_owner_only() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE ROLE alice LOGIN; CREATE ROLE carol LOGIN; GRANT alice TO carol; GRANT CREATE ON SCHEMA public TO alice;
         CREATE TABLE secret AS SELECT 1 AS n",
    );
    let mut alice = cluster.connect("postgres", "alice");
    waiting(&mut alice, "flow", "old");
    alice.run("SELECT wf_start('flow', id => 'a')");
    alice.waits_for("a", "signal");
    // What it would do in a session that is more than its owner.
    alice.run(
        "CREATE OR REPLACE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RESET ROLE; PERFORM n FROM secret; PERFORM wf_wait_signal('go'); RETURN '\"new\"'; END $$",
    );
    let mut carol = cluster.connect("postgres", "carol");
    for session in [&mut db, &mut carol] {
        assert_eq!(session.fails("SELECT wf_upgrade('a')").sqlstate, "42501");
        session.run("SET ROLE alice");
        assert_eq!(session.fails("SELECT wf_upgrade('a')").sqlstate, "42501");
        assert_eq!(session.fails("SELECT wf_replay_check('flow')").sqlstate, "42501");
        session.run("RESET ROLE; SET SESSION AUTHORIZATION DEFAULT");
        // Its own instances, of which there are none.
        assert_eq!(session.count("wf_replay_check('flow')"), 0);
    }
    let outcome: String = alice.one("SELECT outcome FROM wf_replay_check('flow')");
    assert_eq!(
        outcome,
        "would fail with SQLSTATE 42501: permission denied for table secret"
    );
    waiting(&mut alice, "flow", "new");
    alice.run("SELECT wf_upgrade('a'); SELECT wf_signal('a', 'go')");
    assert_eq!(alice.result("a"), json!("new"));

    // Who asks is not bound to wait for it.
    waiting(&mut alice, "endless", "old");
    alice.run("SELECT wf_start('endless', id => 'e')");
    alice.waits_for("e", "signal");
    alice.run(
        "CREATE OR REPLACE FUNCTION endless(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN LOOP END LOOP; END $$;
         SET statement_timeout = '200 ms'",
    );
    assert_eq!(alice.fails("SELECT wf_replay_check('endless')").sqlstate, "57014");
    assert_eq!(alice.fails("SELECT wf_upgrade('e')").sqlstate, "57014");
}

#[test]
fn a_version_stays_for_a_start_that_is_not_committed() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    waiting(&mut db, "flow", "old");
    // One session remembers the version from an earlier start, the other finds it in the table.
    let (mut remembers, mut finds) = (cluster.admin(), cluster.admin());
    remembers.run("SELECT wf_start('flow', id => 'before'); SELECT wf_signal('before', 'go')");
    assert_eq!(db.result("before"), json!("old"));
    for (session, id) in [(&mut remembers, "remembered"), (&mut finds, "found")] {
        session.run(&format!("BEGIN; SELECT wf_start('flow', id => '{id}')"));
    }
    waiting(&mut db, "flow", "new");
    db.run("SELECT wf_start('flow', id => 'after'); SELECT wf_signal('after', 'go')");
    assert_eq!(db.result("after"), json!("new"));
    finds.run("ROLLBACK; BEGIN; SELECT wf_start('flow', id => 'newest')");
    for _ in 0..5 {
        purge(&mut db);
        assert_eq!(versions(&mut db, "flow"), [1, 2]);
    }
    remembers.run("COMMIT; SELECT wf_signal('remembered', 'go')");
    assert_eq!(db.result("remembered"), json!("old"));
    finds.run("COMMIT; SELECT wf_signal('newest', 'go')");
    assert_eq!(db.result("newest"), json!("new"));
    version_goes(&mut db, "flow", 1);
    assert_eq!(db.count("pg_proc WHERE pronamespace = 'wf_versions'::regnamespace"), 0);

    // Found in the table, by a session that has not started it before.
    waiting(&mut db, "other", "old");
    db.run("SELECT wf_start('other', id => 'o1'); SELECT wf_signal('o1', 'go')");
    assert_eq!(db.result("o1"), json!("old"));
    let mut fresh = cluster.admin();
    fresh.run("BEGIN; SELECT wf_start('other', id => 'o2')");
    waiting(&mut db, "other", "new");
    db.run("SELECT wf_start('other', id => 'o3')");
    for _ in 0..5 {
        purge(&mut db);
        assert_eq!(versions(&mut db, "other"), [1, 2]);
    }
    fresh.run("COMMIT; SELECT wf_signal('o2', 'go')");
    assert_eq!(db.result("o2"), json!("old"));
}

#[test]
fn a_version_that_is_about_to_go_is_not_found_again() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    waiting(&mut db, "flow", "old");
    db.run("SELECT wf_start('flow', id => 'a'); SELECT wf_signal('a', 'go')");
    assert_eq!(db.result("a"), json!("old"));
    waiting(&mut db, "flow", "new");
    db.run("SELECT wf_start('flow', id => 'b')");
    db.waits_for("b", "signal");
    // As long as this one runs it might have started something on version 1.
    let mut doubt = cluster.admin();
    doubt.run("BEGIN; SELECT 1");
    purge(&mut db);
    assert_eq!(versions(&mut db, "flow"), [1, 2]);
    // The old code comes back, is started on in a transaction that stays open, and goes again.
    waiting(&mut db, "flow", "old");
    let mut starter = cluster.admin();
    starter.run("BEGIN; SELECT wf_start('flow', id => 'c')");
    waiting(&mut db, "flow", "new");
    doubt.run("COMMIT");
    for _ in 0..5 {
        purge(&mut db);
    }
    starter.run("COMMIT; SELECT wf_signal('c', 'go')");
    assert_eq!(db.result("c"), json!("old"));
    assert_eq!(db.one::<i32>("SELECT version FROM wf.workflows WHERE id = 'c'"), 1);
    version_goes(&mut db, "flow", 1);

    // Put back for good while it is about to go, it stays.
    waiting(&mut db, "flow", "old");
    db.run("SELECT wf_start('flow', id => 'd'); SELECT wf_signal('d', 'go')");
    assert_eq!(db.result("d"), json!("old"));
    waiting(&mut db, "flow", "newest");
    db.run("SELECT wf_start('flow', id => 'e'); SELECT wf_signal('e', 'go')");
    assert_eq!(db.result("e"), json!("newest"));
    assert_eq!(versions(&mut db, "flow"), [2, 3, 4]);
    doubt.run("BEGIN; SELECT 1");
    purge(&mut db);
    waiting(&mut db, "flow", "old");
    doubt.run("COMMIT");
    for _ in 0..5 {
        purge(&mut db);
    }
    assert_eq!(versions(&mut db, "flow"), [2, 3, 4]);
}

#[test]
fn what_somebody_depends_on_stays() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    waiting(&mut db, "flow", "old");
    db.run("SELECT wf_start('flow', id => 'a')");
    db.waits_for("a", "signal");
    waiting(&mut db, "flow", "new");
    db.run("SELECT wf_start('flow', id => 'b'); SELECT wf_signal('a', 'go')");
    assert_eq!(db.result("a"), json!("old"));
    db.run(
        "DO $$ BEGIN EXECUTE format('CREATE VIEW mine AS SELECT %s(''{}'') AS v',
             (SELECT oid::regproc FROM pg_proc WHERE pronamespace = 'wf_versions'::regnamespace)); END $$",
    );
    assert_eq!(purge(&mut db), 1);
    for _ in 0..3 {
        assert_eq!(purge(&mut db), 0);
        assert_eq!(versions(&mut db, "flow"), [1, 2]);
    }
    db.run("DROP VIEW mine");
    version_goes(&mut db, "flow", 1);
    assert_eq!(db.count("pg_proc WHERE pronamespace = 'wf_versions'::regnamespace"), 0);
}

#[test]
fn a_purge_and_a_new_run_of_an_id_do_not_miss_each_other() {
    let cluster = Cluster::new();
    let (mut db, mut other) = (cluster.admin(), cluster.admin());
    waiting(&mut db, "flow", "done");
    // Nobody looks at the run any more once it has ended: a signal that is sent before it waits is looked for once more.
    let ends = |db: &mut Client, id: &str| {
        db.waits_for(id, "signal");
        db.run(&format!("SELECT wf_signal('{id}', 'go')"));
        db.result(id);
    };
    let runs = |db: &mut Client, id: &str| {
        db.all::<i32>(&format!("SELECT run FROM wf.workflows WHERE id = '{id}' ORDER BY run"))
    };
    let start_new = |id: &str| format!("SELECT wf_start('flow', id => '{id}', on_conflict => 'start_new')");

    // Another run is being started: the one before stays, and with it the knowledge that the id is taken.
    db.run("SELECT wf_start('flow', id => 'a')");
    ends(&mut db, "a");
    other.run(&format!("BEGIN; {}", start_new("a")));
    assert_eq!(purge(&mut db), 0);
    other.run("COMMIT");
    assert_eq!(purge(&mut db), 0);
    db.run("SELECT wf_start('flow', id => 'a')");
    assert_eq!(runs(&mut db, "a"), [1, 2]);
    // The last but one of three goes by itself; when the line has ended, all of it.
    ends(&mut db, "a");
    db.run(&start_new("a"));
    assert_eq!(purge(&mut db), 1);
    assert_eq!(runs(&mut db, "a"), [1, 3]);
    ends(&mut db, "a");
    db.run(&start_new("a"));
    ends(&mut db, "a");
    assert_eq!((purge(&mut db), runs(&mut db, "a")), (1, vec![1, 4]));
    assert_eq!((purge(&mut db), runs(&mut db, "a")), (2, vec![]));

    // A fork has the version of the run that it is made of.
    db.run("SELECT wf_start('flow', id => 'f')");
    ends(&mut db, "f");
    other.run("BEGIN; SELECT wf_fork('f', 1, 'fork')");
    assert_eq!(purge(&mut db), 0);
    other.run("COMMIT");
    assert_eq!(purge(&mut db), 1);
    ends(&mut db, "fork");
    assert_eq!(purge(&mut db), 1);

    // A purge is under way: the start waits for it.
    for (end, expected) in [("COMMIT", vec![1]), ("ROLLBACK", vec![1, 2])] {
        db.run("SELECT wf_start('flow', id => 'b', on_conflict => 'start_new')");
        ends(&mut db, "b");
        other.run("BEGIN");
        assert_eq!(purge(&mut other), 1, "before {end}");
        let socket = cluster.connect("postgres", "postgres");
        let starts = std::thread::spawn(move || {
            let mut session = socket;
            session.run("SET application_name = 'starts'");
            session.run("SELECT wf_start('flow', id => 'b', on_conflict => 'start_new')");
        });
        eventually(SOON, "the start waits", || {
            db.count("pg_stat_activity WHERE application_name = 'starts' AND wait_event_type = 'Lock'") == 1
        });
        other.run(end);
        starts.join().unwrap();
        assert_eq!(runs(&mut db, "b"), expected, "after {end}");
        ends(&mut db, "b");
        while purge(&mut db) > 0 {}
    }
}

#[test]
fn purges_take_what_is_theirs_and_do_not_wait_for_each_other() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN; GRANT alice TO carol;
         CREATE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN PERFORM wf_step('s', 'SELECT 1'); RETURN wf_wait_signal('go'); END $$",
    );
    for role in ["alice", "bob"] {
        let mut session = cluster.connect("postgres", role);
        session.run(&format!(
            "SELECT wf_start('flow', id => '{role}-' || n), wf_signal('{role}-' || n, 'go') FROM generate_series(1, 20) AS n"
        ));
        for n in 1..=20 {
            session.result(&format!("{role}-{n}"));
        }
    }
    let (mut alice, mut carol) = (
        cluster.connect("postgres", "alice"),
        cluster.connect("postgres", "carol"),
    );
    alice.run("BEGIN");
    assert_eq!(alice.one::<i32>("SELECT wf_purge('0', max => 5)"), 5);
    // A member of the role; without the five that are held.
    assert_eq!(purge(&mut carol), 15);
    alice.run("ROLLBACK");
    assert_eq!(purge(&mut carol), 5);
    assert_eq!(purge(&mut alice), 0);
    assert_eq!(
        db.all::<String>("SELECT DISTINCT owner::text FROM wf.workflows"),
        ["bob"]
    );
    assert_eq!(db.count("wf_internal.steps"), 40);
    assert_eq!(purge(&mut db), 20);
    assert_eq!(
        db.count("wf_internal.runs") + db.count("wf_internal.steps") + db.count("wf_internal.signals"),
        0
    );
}
