//! Code that takes the server down: it is counted, held for longer each time and set aside, and the rest goes on.

use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

const READY: &str = "database system is ready to accept connections";

/// `boom()` kills its own process by the signal that a bug in C would.
const SCHEMA: &str = r#"
    CREATE EXTENSION plperlu;
    CREATE FUNCTION boom(input jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE plperlu AS $perl$ kill 'SEGV', $$; sleep 60; return '1' $perl$;
    CREATE TABLE effects (instance text, step text);
    CREATE FUNCTION effect(instance text, step text) RETURNS void LANGUAGE sql AS
        $$ INSERT INTO effects VALUES (instance, step) $$;
    CREATE FUNCTION poison(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('before', 'effect', '{"instance": "poison", "step": "before"}');
        PERFORM wf_sleep('10 ms');
        PERFORM wf_step('boom', 'boom');
        RETURN '1';
    END $$;
    CREATE FUNCTION fine(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('nap', 'SELECT pg_sleep($1::float8)', input->'nap');
        PERFORM wf_step('one', 'effect', jsonb_build_object('instance', input->>'i', 'step', 'one'));
        PERFORM wf_sleep('100 ms');
        PERFORM wf_step('two', 'effect', jsonb_build_object('instance', input->>'i', 'step', 'two'));
        RETURN '1';
    END $$"#;

/// Starts the instances, which may take the connection along.
fn start(cluster: &Cluster, sql: &str) {
    let outcome = cluster.admin().attempt(sql);
    assert!(outcome.as_ref().err().is_none_or(is_crash), "{outcome:?}");
}

fn is_crash(failure: &Failure) -> bool {
    matches!(&failure.sqlstate[..2], "08" | "57")
}

/// A number that is asked for again where the server has just crashed.
fn count(cluster: &Cluster, from: &str) -> Option<i64> {
    let mut db = cluster.try_connect("postgres", "postgres").ok()?;
    let row = db.query_one(&format!("SELECT count(*) FROM {from}"), &[]).ok()?;
    Some(row.get(0))
}

fn crashes(cluster: &Cluster) -> usize {
    cluster.logged(READY) - 1
}

#[test]
fn the_culprit_is_set_aside_and_the_rest_goes_on() {
    let cluster = Cluster::new();
    if cluster.lacks("plperlu") {
        return;
    }
    cluster.admin().run(SCHEMA);
    let begun = Instant::now();
    start(
        &cluster,
        "BEGIN;
         SELECT wf_start('fine', jsonb_build_object('i', 'long ' || i, 'nap', 1), id => 'long ' || i) FROM generate_series(1, 2) AS i;
         SELECT wf_start('poison', id => 'poison');
         SELECT wf_start('fine', jsonb_build_object('i', i, 'nap', 0), id => 'fine ' || i) FROM generate_series(1, 60) AS i;
         COMMIT",
    );
    let limit = Duration::from_secs(90);
    eventually(limit, "the others complete", || {
        count(
            &cluster,
            "wf.workflows WHERE workflow = 'fine' AND status = 'completed'",
        ) == Some(62)
    });
    eventually(limit, "it is set aside", || {
        count(&cluster, "wf.workflows WHERE waiting_for LIKE 'resume (set aside: %'") == Some(1)
    });
    // Not in a tight loop: it was held before the third.
    assert!(begun.elapsed() > Duration::from_secs(10));
    assert_eq!(crashes(&cluster), 3);
    let mut db = cluster.admin();
    assert_eq!(
        db.one::<String>(
            "SELECT concat_ws(' ', id, status, waiting_for) FROM wf.workflows WHERE status <> 'completed'"
        ),
        "poison paused resume (set aside: the server has crashed 3 times in step \"boom\")"
    );
    assert_eq!(
        db.one::<String>("SELECT concat_ws(' ', run_id, times, step) FROM wf_internal.crashes"),
        db.one::<String>("SELECT run_id || ' 3 boom' FROM wf.workflows WHERE id = 'poison'"),
    );
    for (text, times) in [("goes on behind", 1), ("is held until", 1), ("is set aside", 1)] {
        let logged = cluster.logged(&format!("workflow instance \"poison\" {text}"));
        assert_eq!(logged, times, "{text}");
    }
    throughout(Duration::from_secs(1), "no further crash", || crashes(&cluster) == 3);
    let twice: Vec<String> = db.all(
        "SELECT concat_ws(' ', instance, step, count(*)) FROM effects GROUP BY instance, step HAVING count(*) > 1",
    );
    assert_eq!(twice, Vec::<String>::new());
    assert_eq!(db.count("effects"), 125);

    db.run("CREATE OR REPLACE FUNCTION boom(input jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$ SELECT '1'::jsonb $$");
    assert!(db.one::<bool>("SELECT wf_resume('poison')"));
    assert_eq!(db.result("poison"), json!(1));
    assert_eq!(db.count("wf_internal.crashes"), 0);
    eventually(SOON, "nothing is left", || db.all::<String>(CONSISTENCY).is_empty());
    assert_eq!(crashes(&cluster), 3);
}

/// Wherever a workflow has code: each is set aside by its first crash here.
#[test]
fn every_place_that_runs_code_is_counted() {
    let cluster = Cluster::with(&["pg_workflow.max_crashes = 1"]);
    if cluster.lacks("plperlu") {
        return;
    }
    let mut db = cluster.admin();
    db.run(SCHEMA);
    db.run(
        r#"CREATE FUNCTION decides(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN boom(); END $$;
         CREATE FUNCTION maps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_map('items', 'SELECT CASE WHEN $1 = ''3'' THEN boom() ELSE $1 END', '[1, 2, 3, 4]'); END $$;
         CREATE FUNCTION commands(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('command', 'SELECT boom()', transactional => false, retry => '{"max_attempts": 5}'); END $$;
         CREATE PROCEDURE calls(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
         BEGIN CALL wf_step('called', 'boom', '{}', result); END $$;
         CREATE FUNCTION parent(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_call('child', 'poison'); END $$;
         CREATE TABLE deferred (i int);
         CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM boom(); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
         CREATE FUNCTION commits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('insert', 'INSERT INTO deferred VALUES (1)'); END $$;
         CREATE FUNCTION undoes(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_step('do', 'SELECT 1');
             PERFORM wf_compensate('undo', 'boom');
             RETURN wf_wait_signal('never');
         END $$;
         SELECT wf_start('undoes', id => 'undoes');"#,
    );
    db.waits_for("undoes", "signal");
    let crashes_once = |total: usize, sql: &str, id: &str, place: &str| {
        start(&cluster, sql);
        eventually(SOON, &format!("{id} is set aside"), || {
            let set_aside = format!(
                "wf.workflows WHERE id = '{id}' AND waiting_for LIKE 'resume (set aside: %crashed once in {place})'"
            );
            count(&cluster, &set_aside) == Some(1)
        });
        assert_eq!(crashes(&cluster), total, "{id}");
    };
    crashes_once(
        1,
        "SELECT wf_start('decides', id => 'decides')",
        "decides",
        "its own code",
    );
    crashes_once(2, "SELECT wf_start('maps', id => 'maps')", "maps", "step \"items\"");
    crashes_once(
        3,
        "SELECT wf_start('commands', id => 'commands')",
        "commands",
        "step \"command\"",
    );
    crashes_once(4, "SELECT wf_start('calls', id => 'calls')", "calls", "step \"called\"");
    crashes_once(
        5,
        "SELECT wf_start('parent', id => 'parent')",
        "parent/child",
        "step \"boom\"",
    );
    crashes_once(
        6,
        "SELECT wf_start('commits', id => 'commits')",
        "commits",
        "its own code",
    );
    // Nor does the cancel that it is there for let it through.
    crashes_once(7, "SELECT wf_cancel('undoes')", "undoes", "step \"undo\"");
    let mut db = cluster.admin();
    db.run(
        "CREATE TABLE armed ();
         CREATE FUNCTION next_time() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN
             IF EXISTS (SELECT FROM armed) THEN PERFORM boom(); END IF;
             RETURN now() + interval '1 s';
         END $$;
         SELECT wf_schedule('ticks', 'SELECT next_time()', 'fine', '{\"i\": 0, \"nap\": 0}');
         INSERT INTO armed DEFAULT VALUES",
    );
    let total = 8;
    eventually(SOON, "the schedule is paused", || {
        count(&cluster, "wf.schedules WHERE name = 'ticks' AND status = 'paused'") == Some(1)
    });
    assert_eq!(crashes(&cluster), total);
    assert_eq!(cluster.logged("schedule \"ticks\" is paused"), 1);
    let mut db = cluster.admin();
    assert_eq!(db.status("parent"), "waiting");
    throughout(Duration::from_secs(1), "no further crash", || {
        crashes(&cluster) == total
    });
    // An operator takes over: what has not begun is cancelled without its code.
    db.run("SELECT wf_cancel('decides')");
    throughout(Duration::from_millis(300), "held", || db.status("decides") == "paused");
    db.run("SELECT wf_resume('decides')");
    assert_eq!(db.failure("decides").sqlstate, "WF002");
    assert_eq!(crashes(&cluster), total);
    // The executors know nothing of it any more.
    db.run("SELECT wf_start('fine', '{\"i\": 1, \"nap\": 0}', id => 'fine')");
    assert_eq!(db.result("fine"), json!(1));
}

#[test]
fn what_was_killed_from_outside_goes_on_and_people_may_step_in() {
    let cluster = Cluster::with(&["pg_workflow.max_crashes = 0"]);
    if cluster.lacks("plperlu") {
        return;
    }
    let mut db = cluster.admin();
    db.run(SCHEMA);
    db.run("SELECT wf_start('fine', '{\"i\": 1, \"nap\": 5}', id => 'a'), wf_start('fine', '{\"i\": 2, \"nap\": 5}', id => 'b')");
    let executor = db.in_step("a", "nap");
    db.in_step("b", "nap");
    kill(executor);
    eventually(SOON, "the crash is over", || crashes(&cluster) == 1);
    cluster.wait_ready();
    let mut db = cluster.admin();
    assert_eq!(db.result("a"), json!(1));
    assert_eq!(db.result("b"), json!(1));
    // Who was not killed has nothing to do with it.
    assert_eq!(cluster.logged("workflow instance \"a\" goes on behind a crash"), 1);
    assert_eq!(cluster.logged("workflow instance \"b\" goes on behind a crash"), 0);

    // Never set aside, but held: the second time for ten seconds.
    start(&cluster, "SELECT wf_start('poison', id => 'poison')");
    eventually(SOON, "it is held", || {
        count(
            &cluster,
            "wf.workflows WHERE id = 'poison' AND waiting_for LIKE 'retry at % (the server has crashed % times)'",
        ) == Some(1)
    });
    let before = crashes(&cluster);
    let mut db = cluster.admin();
    // From here on it is held by somebody, and does not go on by itself.
    assert!(db.one::<bool>("SELECT wf_pause('poison', reason => 'mine')"));
    assert!(!db.one::<bool>("SELECT wf_pause('poison')"));
    assert_eq!(
        db.count("wf_internal.crashes WHERE until IS NOT NULL OR pause_id IS NOT NULL"),
        0
    );
    // A stop is no crash, wherever the executors are.
    db.run("SELECT wf_start('fine', '{\"i\": 3, \"nap\": 3}', id => 'c')");
    db.in_step("c", "nap");
    cluster.stop(Stop::Immediate);
    cluster.start();
    let mut db = cluster.admin();
    assert_eq!(db.result("c"), json!(1));
    assert_eq!(cluster.logged("workflow instance \"c\""), 0);
    assert_eq!(db.status("poison"), "paused");
    db.run("CREATE OR REPLACE FUNCTION boom(input jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$ SELECT '1'::jsonb $$");
    db.run("SELECT wf_resume('poison')");
    assert_eq!(db.result("poison"), json!(1));
    // That is the one start.
    assert_eq!(crashes(&cluster), before + 1);
}
