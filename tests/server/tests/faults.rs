//! A server that is killed, or fails, at each border of the engine's work: afterwards everything is done, and once.
//!
//! The build for tests has a fault point at each of them (`pg::fault`). For each point a load that has a bit of everything is
//! run, and something happens when the point is passed: its process is killed, the whole server is, or an error arises.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

const POINTS: &[&str] = &[
    "answers-taken",
    "batch-done",
    "branch-ended",
    "branch-retried",
    "child-ended",
    "child-started",
    "claimed",
    "closed",
    "command-begins",
    "command-begun",
    "command-ran",
    "command-recorded",
    "commits",
    "committed",
    "committed-in-place",
    "compensated",
    "compensates",
    "continued",
    "crashes-counted",
    "purged",
    "queue-served",
    "recording",
    "schedule-fires",
    "seat-left",
    "signal-taken",
    "started",
    "step",
    "step-done",
    "step-run",
    "task-claimed",
    "task-completed",
    "timer-set",
    "timers-moved",
    "turn",
    "waits",
];

/// An error there is the call's own, or comes when nothing can fail any more.
const NO_ERROR: [&str; 2] = ["child-started", "committed"];

const SCHEMA: &str = r#"
    -- No unique constraint: what is done twice shall leave two rows.
    CREATE TABLE effects (instance text, step text);
    CREATE FUNCTION effect(instance text, step text) RETURNS void LANGUAGE sql AS
        $$ INSERT INTO effects VALUES (instance, step) $$;
    -- Fails every other time.
    CREATE SEQUENCE attempts_flaky;
    CREATE SEQUENCE attempts_begun;
    CREATE FUNCTION flaky(instance text, step text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO effects VALUES (instance, step);
        IF nextval('attempts_' || step) % 2 <> 0 THEN RAISE 'not this time'; END IF;
    END $$;

    CREATE FUNCTION small_flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('small', 'effect', jsonb_build_object('instance', coalesce(input->>'at', input->>'i'), 'step', 'small'));
        RETURN '1';
    END $$;
    CREATE FUNCTION rich_flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    DECLARE
        i text := input->>'i';
        begun integer;
    BEGIN
        IF input ? 'again' THEN
            PERFORM wf_step('again', 'effect', jsonb_build_object('instance', i, 'step', 'again'));
            RETURN '1';
        END IF;
        PERFORM wf_step('one', 'effect', jsonb_build_object('instance', i, 'step', 'one'));
        PERFORM wf_sleep('20 ms');
        begun := wf_begin('begun', 'flaky', jsonb_build_object('instance', i, 'step', 'begun'));
        PERFORM wf_step('flaky', 'flaky', jsonb_build_object('instance', i, 'step', 'flaky'));
        PERFORM wf_call('child', 'small', jsonb_build_object('i', i || '/child'));
        PERFORM wf_map('items', 'effect', (SELECT jsonb_agg(jsonb_build_object('instance', i, 'step', 'item ' || k))
                                           FROM generate_series(1, 4) AS k), max_parallel => 2, queue => 'lane');
        PERFORM wf_await(begun);
        PERFORM wf_step('command', 'effect', jsonb_build_object('instance', i, 'step', 'command'), transactional => false);
        PERFORM wf_wait_signal('go');
        PERFORM wf_task('task', 'work', jsonb_build_object('i', i), retry => '{"max_attempts": 0}');
        PERFORM wf_step('last', 'effect', jsonb_build_object('instance', i, 'step', 'last'));
        RETURN wf_continue_as_new(input || '{"again": true}');
    END $$;
    CREATE FUNCTION saga_flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('do', 'effect', jsonb_build_object('instance', input->>'i', 'step', 'do'));
        PERFORM wf_compensate('undo', 'effect', jsonb_build_object('instance', input->>'i', 'step', 'undo'));
        RAISE 'in vain';
    END $$;
    CREATE PROCEDURE long_flow(input jsonb) LANGUAGE plpgsql AS $$
    DECLARE got jsonb;
    BEGIN
        FOR k IN 1..70 LOOP
            CALL wf_step('step', 'effect', jsonb_build_object('instance', input->>'i', 'step', 'step ' || k), got);
        END LOOP;
    END $$;
    SELECT wf_define(name, name || '_flow', '{"retry": {"max_attempts": 0, "first_delay": "10 ms", "backoff": 1}}')
    FROM unnest('{small, rich, saga, long}'::text[]) AS name;
    SELECT wf_queue('lane', max_running => 2);
    SELECT wf_queue('work');
    SELECT wf_schedule('ticks', '1 seconds', 'small', '{}', time_key => 'at');"#;

/// Effects of a round: `rich` 11 and its child 1, `saga` 2, `long` 70, two `small` in a queue.
const EFFECTS: i64 = 86;
const INSTANCES: i64 = 6;

/// A client that connects again when the server was gone.
struct Session<'a> {
    cluster: &'a Cluster,
    db: Option<Client>,
}

impl Session<'_> {
    /// Runs statements; false if that did not come through, which is no surprise here.
    fn attempt(&mut self, sql: &str) -> bool {
        if self.db.is_none() {
            self.db = self.cluster.try_connect("postgres", "postgres").ok();
        }
        let Some(db) = &mut self.db else { return false };
        match db.attempt(sql) {
            Ok(()) => true,
            Err(failure) if failure.message.starts_with("fault at") => false,
            // It has ended since it was looked for.
            Err(failure) if failure.sqlstate == "55000" => true,
            Err(failure) => {
                assert!(matches!(&failure.sqlstate[..2], "08" | "57"), "{sql}\n{failure:?}");
                self.db = None;
                false
            }
        }
    }

    fn number(&mut self, sql: &str) -> Option<i64> {
        let row = self.db.as_mut()?.query_one(sql, &[]);
        row.inspect_err(|_| self.db = None).ok().map(|row| row.get(0))
    }
}

/// Runs the load, with `action` at `point`, until all is done.
fn round(cluster: &Cluster, point: &str, action: &str) {
    let began = Instant::now();
    let reached = cluster.data().join(format!("faults/{point}.reached"));
    let starts = || cluster.logged("database system is ready to accept connections");
    let before = starts();
    let mut session = Session { cluster, db: None };
    // Renamed: one that is found while it is empty would be a kill.
    let arm = format!(
        "COPY (SELECT '{action}') TO PROGRAM 'mkdir -p faults && cat >faults/arm && mv faults/arm faults/{point}'"
    );
    assert!(session.attempt(&arm));
    std::thread::scope(|scope| {
        if action == "hang" {
            scope.spawn(|| {
                eventually(Duration::from_secs(60), point, || reached.exists());
                cluster.kill9();
                cluster.start();
            });
        }
        if point == "crashes-counted" {
            session.attempt("SELECT pg_terminate_backend(pid) FROM wf.workers WHERE kind = 'scheduler'");
        }
        // Those of the rounds before, which are done.
        while !session.attempt("SELECT wf_purge('0 s'), setval('attempts_begun', 2)") {
            std::thread::sleep(Duration::from_millis(20));
        }
        let start = format!(
            "SELECT wf_start(w, jsonb_build_object('i', '{point}/' || w), id => '{point}/' || w) FROM unnest('{{rich, saga, long}}'::text[]) AS w;
             SELECT wf_start('small', jsonb_build_object('i', '{point}/' || k), id => '{point}/' || k, queue => 'lane') FROM generate_series(1, 2) AS k"
        );
        let signal = format!(
            "SELECT wf_signal(id, 'go', '1', key => 'go') FROM wf.workflows WHERE id = '{point}/rich' AND run = 1 AND status = 'waiting' AND waiting_for LIKE 'signal%'"
        );
        let early = format!(
            "SELECT wf_signal(id, 'go', '1', key => 'go') FROM wf.workflows WHERE id = '{point}/rich' AND run = 1 AND finished_at IS NULL"
        );
        let work = "DO $$ DECLARE t record; BEGIN
                        FOR t IN SELECT * FROM wf_poll('work') LOOP
                            INSERT INTO effects VALUES (t.input->>'i', 'task');
                            PERFORM wf_complete(t.task, '1');
                        END LOOP;
                    END $$";
        let ended = format!(
            "SELECT count(DISTINCT id) FROM wf.workflows WHERE id LIKE '{point}/%' AND status IN ('completed', 'failed')"
        );
        let mut started = false;
        loop {
            started = started || session.attempt(&start);
            // Sent before anybody waits for it, or when somebody does.
            session.attempt(if point == "signal-taken" { &early } else { &signal });
            session.attempt(work);
            if started && reached.exists() && session.number(&ended) == Some(INSTANCES) {
                break;
            }
            if began.elapsed() > Duration::from_secs(60) {
                let state: Vec<String> = cluster.admin().all(
                    "SELECT concat_ws(' | ', id, run, status, waiting_for, error) FROM wf.workflows WHERE status <> 'completed'",
                );
                panic!("{action} at {point}, reached: {}: {state:#?}", reached.exists());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    if action == "kill" {
        // It may have come last.
        eventually(SOON, "the server has started again", || starts() > before);
    }
    check(cluster, point, action);
    eprintln!("{action} at {point}: {:?}", began.elapsed());
}

fn check(cluster: &Cluster, point: &str, action: &str) {
    let mut db = cluster.admin();
    let wrong: Vec<String> = db.all(&format!(
        "SELECT concat_ws(' ', id, status, error) FROM wf.workflows
         WHERE id LIKE '{point}/%' AND status <> CASE WHEN workflow = 'saga' THEN 'failed' ELSE 'completed' END AND status <> 'continued'"
    ));
    assert_eq!(wrong, Vec::<String>::new(), "{action} at {point}");
    // A step that is not transactional is done at least once.
    let twice: Vec<String> = db.all(
        "SELECT concat_ws(' ', instance, step, count(*)) FROM effects WHERE step <> 'command' GROUP BY instance, step HAVING count(*) > 1",
    );
    assert_eq!(twice, Vec::<String>::new(), "{action} at {point}");
    let effects: i64 = db.one(&format!(
        "SELECT count(DISTINCT (instance, step)) FROM effects WHERE instance LIKE '{point}/%'"
    ));
    assert_eq!(effects, EFFECTS, "{action} at {point}");
    // Ticks come and go meanwhile.
    let mut findings = Vec::new();
    eventually(SOON, &format!("nothing is left of {action} at {point}"), || {
        let found = db.all::<String>(CONSISTENCY);
        if found != findings {
            eprintln!("{found:?}");
        }
        findings = found;
        findings.is_empty()
    });
}

/// False, and says so, for a build without fault points.
fn has_faults(cluster: &Cluster) -> bool {
    let path: String = cluster
        .admin()
        .one("SELECT setting || '/pg_workflow.so' FROM pg_config WHERE name = 'PKGLIBDIR'");
    let library = std::fs::read(path).expect("the library");
    let has = library.windows(10).any(|bytes| bytes == b"fault at \"");
    if !has {
        eprintln!("this build has no fault points");
    }
    has
}

fn all_points(action: &str) {
    let cluster = Cluster::new();
    if !has_faults(&cluster) {
        return;
    }
    cluster.admin().run(SCHEMA);
    for point in POINTS {
        if action != "error" || !NO_ERROR.contains(point) {
            round(&cluster, point, action);
        }
    }
    let fired: i64 = cluster.admin().count("effects WHERE instance LIKE '2%'");
    assert!(fired > 0, "the schedule has fired");
}

#[test]
fn the_process_is_killed_at_each_point() {
    all_points("kill");
}

#[test]
fn the_server_is_killed_at_each_point() {
    all_points("hang");
}

#[test]
fn an_error_arises_at_each_point() {
    all_points("error");
}

/// A cancel interrupts whoever works on the instance. Between the claim and the step nobody is known to.
#[test]
fn a_cancel_behind_the_claim_is_noticed() {
    let cluster = Cluster::with(&["pg_workflow.max_executors = 1"]);
    if !has_faults(&cluster) {
        return;
    }
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION naps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('nap', 'SELECT pg_sleep(($1)::float)', input); END $$",
    );
    // From here on the step is known to be slow: it gets a transaction of its own at once.
    db.run("SELECT wf_start('naps', '0.2', id => 'first')");
    db.result("first");
    let reached = cluster.data().join("faults/claimed.reached");
    db.run("COPY (SELECT 'wait') TO PROGRAM 'mkdir -p faults && cat >faults/arm && mv faults/arm faults/claimed'");
    db.run("SELECT wf_start('naps', '3600', id => 'second')");
    eventually(SOON, "it is claimed", || reached.exists());
    db.run("SELECT wf_cancel('second')");
    std::fs::remove_file(&reached).expect("the executor waits for it");
    assert_eq!(db.failure("second").sqlstate, "WF002");
}

/// The list above is that of the source.
#[test]
fn no_point_is_left_out() {
    fn search(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).expect("the source") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                search(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("text");
                let names = text
                    .split(" fault(\"")
                    .skip(1)
                    .filter_map(|rest| rest.split('"').next());
                found.extend(names.map(str::to_owned));
            }
        }
    }
    let mut found = BTreeSet::new();
    search(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src"), &mut found);
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), POINTS);
}
