//! Operators' hold on instances, against real workers: pauses that meet turns, single steps, retries, forks, and who may.

use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

/// No unique constraint: a step done twice shall leave two rows.
const CHAINS: &str = "
    CREATE TABLE effects (n bigserial, id text, link int);
    CREATE FUNCTION chain(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        FOR i IN 1..(input->>'n')::int LOOP
            PERFORM wf_step('link', 'INSERT INTO effects (id, link) VALUES ($1->>''id'', ($1->>''i'')::int)',
                            input || jsonb_build_object('i', i));
        END LOOP;
        RETURN input->'n';
    END $$;
    CREATE PROCEDURE chain_in_place(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
    BEGIN
        FOR i IN 1..(input->>'n')::int LOOP
            CALL wf_step('link', 'INSERT INTO effects (id, link) VALUES ($1->>''id'', ($1->>''i'')::int)',
                         input || jsonb_build_object('i', i), result);
        END LOOP;
        result := input->'n';
    END $$";

const WAITS: &str = "
    CREATE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_wait_signal('go');
        RETURN wf_step('who', 'SELECT current_user')->0;
    END $$";

fn start(db: &mut Client, workflow: &str, id: &str, n: u32) {
    db.run(&format!(
        "SELECT wf_start('{workflow}', '{{\"id\": \"{id}\", \"n\": {n}}}', id => '{id}')"
    ));
}

fn whole(db: &mut Client, id: &str, n: i64) {
    assert_eq!(db.result(id), json!(n));
    let (rows, different): (i64, i64) = (
        db.count(&format!("effects WHERE id = '{id}'")),
        db.one(&format!("SELECT count(DISTINCT link) FROM effects WHERE id = '{id}'")),
    );
    assert_eq!((rows, different), (n, n), "effects of {id}");
}

/// Waits until that many runs are parked, and no hint is left.
fn parked(db: &mut Client, count: i64) {
    eventually(SOON, &format!("{count} are parked"), || {
        db.count("wf_internal.parked") == count && db.count("wf_internal.ready") == 0
    });
}

/// Number of transactions in database `postgres`, once it has come to rest.
fn at_rest(cluster: &Cluster) -> i64 {
    let mut watcher = cluster.connect("template1", "postgres");
    let mut transactions = || -> i64 {
        watcher.one("SELECT (xact_commit + xact_rollback)::int8 FROM pg_stat_database WHERE datname = 'postgres'")
    };
    // Counters arrive when a process goes idle.
    let (mut last, mut since) = (transactions(), Instant::now());
    eventually(SOON, "it comes to rest", || {
        let now = transactions();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(1500)
    });
    last
}

#[test]
fn pauses_that_meet_turns_lose_nothing() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(CHAINS);
    let instances = 30;
    for i in 0..instances {
        let workflow = if i % 3 == 0 { "chain_in_place" } else { "chain" };
        start(&mut db, workflow, &format!("c{i}"), 200);
    }
    let mut other = cluster.admin();
    let mut random = Random::new();
    for round in 0..60 {
        let scope = match round % 3 {
            0 => String::new(),
            1 => "workflow => 'chain'".to_owned(),
            _ => format!("'c{}'", random.below(instances)),
        };
        other.run(&format!("SELECT wf_pause({scope})"));
        std::thread::sleep(Duration::from_millis(random.below(15)));
        other.run("BEGIN");
        other.run(&format!("SELECT wf_resume({scope})"));
        std::thread::sleep(Duration::from_millis(random.below(5)));
        other.run("COMMIT");
    }
    for i in 0..instances {
        whole(&mut db, &format!("c{i}"), 200);
    }
    parked(&mut db, 0);
    assert_eq!(db.count("wf.pauses"), 0);
}

#[test]
fn a_paused_chain_stands_still_and_costs_nothing() {
    let cluster = Cluster::with(&["autovacuum = off"]);
    let mut db = cluster.admin();
    db.run(CHAINS);
    for (workflow, links) in [("chain", 500), ("chain_in_place", 3000)] {
        let id = workflow;
        start(&mut db, workflow, id, links);
        eventually(SOON, "it is on its way", || {
            db.count(&format!("effects WHERE id = '{id}'")) > 50
        });
        assert!(db.one::<bool>(&format!("SELECT wf_pause('{id}')")));
        parked(&mut db, 1);
        assert_eq!(db.status(id), "paused");
        let done = db.count(&format!("effects WHERE id = '{id}'"));
        assert!(done < i64::from(links), "{id} was not paused on its way");
        let before = at_rest(&cluster);
        std::thread::sleep(Duration::from_secs(2));
        let mut watcher = cluster.connect("template1", "postgres");
        let after: i64 =
            watcher.one("SELECT (xact_commit + xact_rollback)::int8 FROM pg_stat_database WHERE datname = 'postgres'");
        assert_eq!(after - before, 0, "transactions in 2 s");
        assert_eq!(db.count(&format!("effects WHERE id = '{id}'")), done);
        assert!(db.one::<bool>(&format!("SELECT wf_resume('{id}')")));
        eventually(Duration::from_secs(120), "it ends", || db.status(id) == "completed");
        whole(&mut db, id, i64::from(links));
    }
}

#[test]
fn a_pause_that_is_being_lifted_is_neither_there_nor_gone() {
    let cluster = Cluster::with(&["autovacuum = off"]);
    let mut db = cluster.admin();
    db.run(WAITS);
    for end in ["ROLLBACK", "COMMIT"] {
        let id = end;
        db.run(&format!("SELECT wf_start('waits', id => '{id}')"));
        db.waits_for(id, "signal");
        db.run("SELECT wf_pause(workflow => 'waits')");
        let mut other = cluster.admin();
        other.run("BEGIN; SELECT wf_resume(workflow => 'waits')");
        db.run(&format!("SELECT wf_signal('{id}', 'go')"));
        // It is not run, it is not parked, and nobody turns in circles about it.
        let before = at_rest(&cluster);
        std::thread::sleep(Duration::from_secs(1));
        let mut watcher = cluster.connect("template1", "postgres");
        let after: i64 =
            watcher.one("SELECT (xact_commit + xact_rollback)::int8 FROM pg_stat_database WHERE datname = 'postgres'");
        assert_eq!(after - before, 0, "transactions in 1 s");
        assert_eq!((db.count("wf_internal.parked"), db.count("wf_internal.ready")), (0, 1));
        assert_eq!(db.status(id), "paused");
        other.run(end);
        if end == "ROLLBACK" {
            parked(&mut db, 1);
            assert_eq!(db.status(id), "paused");
            db.run("SELECT wf_resume(workflow => 'waits')");
        }
        assert_eq!(db.result(id), json!("postgres"));
    }
}

#[test]
fn what_falls_due_meanwhile_is_found_when_it_goes_on() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION naps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN PERFORM wf_sleep('0.5 s'); RETURN '\"awake\"'; END $$;
         CREATE FUNCTION forever(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_wait_signal('never'); END $$",
    );
    db.run(
        "SELECT wf_start('naps', id => 'nap');
         SELECT wf_start('naps', id => 'later', delay => '0.5 s');
         SELECT wf_start('forever', id => 'deadline', timeout => '0.5 s')",
    );
    db.waits_for("nap", "sleep");
    db.waits_for("deadline", "signal");
    db.run("SELECT wf_pause()");
    parked(&mut db, 3);
    assert_eq!(db.all::<String>("SELECT DISTINCT status FROM wf.workflows"), ["paused"]);
    db.run("SELECT wf_resume()");
    assert_eq!(db.result("nap"), json!("awake"));
    assert_eq!(db.result("later"), json!("awake"));
    assert_eq!(db.failure("deadline").sqlstate, "WF003");
}

#[test]
fn pauses_outlive_a_crash() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(CHAINS);
    let mut random = Random::new();
    let instances = 10;
    for i in 0..instances {
        let workflow = if i % 2 == 0 { "chain_in_place" } else { "chain" };
        start(&mut db, workflow, &format!("c{i}"), 400);
    }
    for _ in 0..6 {
        db.run("SELECT wf_pause()");
        std::thread::sleep(Duration::from_millis(random.below(60)));
        cluster.kill9();
        cluster.start();
        db = cluster.admin();
        assert_eq!(db.count("wf.pauses"), 1);
        // Ready again, or parked already; then none moves.
        eventually(SOON, "all are parked", || db.count("wf_internal.ready") == 0);
        let done = db.count("effects");
        throughout(Duration::from_millis(300), "nothing moves", || {
            db.count("effects") == done
        });
        assert!(db.one::<bool>("SELECT wf_resume()"));
        std::thread::sleep(Duration::from_millis(random.below(40)));
    }
    for i in 0..instances {
        eventually(Duration::from_secs(120), "it ends", || {
            db.status(&format!("c{i}")) == "completed"
        });
        whole(&mut db, &format!("c{i}"), 400);
    }
    parked(&mut db, 0);
}

#[test]
fn a_step_that_runs_is_not_disturbed_and_not_to_be_stepped_over() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION slow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_step('nap', 'SELECT pg_sleep(2)');
             PERFORM wf_step('after', 'SELECT 1');
             RETURN '\"done\"';
         END $$;
         SELECT wf_start('slow', id => 's')",
    );
    db.in_step("s", "nap");
    assert!(db.one::<bool>("SELECT wf_pause('s')"));
    let failure = db.fails("SELECT wf_step('s')");
    assert_eq!(failure.sqlstate, "55006", "{failure:?}");
    parked(&mut db, 1);
    assert_eq!(db.all::<String>("SELECT name FROM wf.steps WHERE id = 's'"), ["nap"]);
    let taken: Value = db.one("SELECT wf_step('s')");
    assert_eq!(taken["call"]["name"], json!("after"));
    let taken: Value = db.one("SELECT wf_step('s')");
    assert_eq!(
        (&taken["status"], &taken["result"]),
        (&json!("completed"), &json!("done"))
    );
}

#[test]
fn a_single_step_of_a_procedure_and_of_a_retry() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(CHAINS);
    db.run("SELECT wf_pause()");
    start(&mut db, "chain_in_place", "p", 5);
    for i in 1..=3 {
        let taken: Value = db.one("SELECT wf_step('p')");
        assert_eq!((&taken["call"]["n"], &taken["status"]), (&json!(i), &json!("running")));
        assert_eq!(db.count("effects"), i);
    }
    // A step that is tried again: each attempt is a step, once it is due.
    db.run(
        "CREATE TABLE broken (what text); INSERT INTO broken VALUES ('x');
         CREATE FUNCTION tries(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             RETURN wf_step('try', 'SELECT 1 / (1 - count(*)::int) FROM broken',
                            retry => '{\"max_attempts\": 5, \"first_delay\": \"0.3 s\", \"backoff\": 1, \"retry_on\": [\"22012\"]}');
         END $$;
         SELECT wf_start('tries', id => 't')",
    );
    let taken: Value = db.one("SELECT wf_step('t')");
    assert_eq!(taken["call"]["status"], json!("retrying"));
    let mut taken: Value = Value::Null;
    eventually(SOON, "the retry is due", || {
        taken = db.one("SELECT wf_step('t')");
        !taken["call"].is_null()
    });
    assert_eq!(
        (&taken["call"]["status"], &taken["call"]["attempt"]),
        (&json!("retrying"), &json!(2))
    );
    db.run("DELETE FROM broken");
    eventually(SOON, "the retry is due", || {
        taken = db.one("SELECT wf_step('t')");
        !taken["call"].is_null()
    });
    assert_eq!(
        (&taken["call"]["status"], &taken["call"]["attempt"]),
        (&json!("completed"), &json!(3))
    );
    db.run("SELECT wf_resume()");
    assert_eq!(db.result("t"), json!([1]));
    whole(&mut db, "p", 5);
}

#[test]
fn a_cancel_reaches_a_single_step() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION slow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('nap', 'SELECT pg_sleep(50)'); END $$;
         SELECT wf_pause();
         SELECT wf_start('slow', id => 's')",
    );
    let mut other = cluster.admin();
    let stepping = std::thread::spawn(move || other.one::<Value>("SELECT wf_step('s')"));
    eventually(SOON, "it is in the step", || {
        db.count("wf.workers WHERE id = 's' AND kind = 'session'") == 1
    });
    // Another session cannot take it meanwhile.
    assert_eq!(db.fails("SELECT wf_step('s')").sqlstate, "55006");
    db.run("SELECT wf_cancel('s', 'enough')");
    let taken = stepping.join().unwrap();
    assert_eq!(taken["call"]["status"], json!("cancelled"), "{taken}");
    assert_eq!(db.failure("s").sqlstate, "WF002");
    assert_eq!(db.count("wf.workers WHERE kind = 'session'"), 0);
}

#[test]
fn everyone_controls_what_is_theirs() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN; GRANT alice TO carol;
         GRANT CREATE ON SCHEMA public TO alice",
    );
    db.run(WAITS);
    let mut alice = cluster.connect("postgres", "alice");
    let mut bob = cluster.connect("postgres", "bob");
    let mut carol = cluster.connect("postgres", "carol");
    alice.run("SELECT wf_start('waits', id => 'a')");
    bob.run("SELECT wf_start('waits', id => 'b')");
    db.waits_for("a", "signal");
    db.waits_for("b", "signal");

    // Another's instance.
    for call in [
        "wf_pause('a')",
        "wf_resume('a')",
        "wf_step('a')",
        "wf_retry('a')",
        "wf_fork('a', 1)",
    ] {
        let failure = bob.fails(&format!("SELECT {call}"));
        assert_eq!(failure.sqlstate, "42704", "{call}: {failure:?}");
    }
    // A workflow, or everything: the role's own.
    assert!(alice.one::<bool>("SELECT wf_pause(workflow => 'waits')"));
    assert!(alice.one::<bool>("SELECT wf_pause()"));
    assert_eq!(
        (db.status("a").as_str(), db.status("b").as_str()),
        ("paused", "waiting")
    );
    bob.run("SELECT wf_signal('b', 'go')");
    assert_eq!(bob.result("b"), json!("bob"));
    assert!(!bob.one::<bool>("SELECT wf_resume()"));
    assert!(!carol.one::<bool>("SELECT wf_resume(workflow => 'waits')"));
    assert_eq!((bob.count("wf.pauses"), carol.count("wf.pauses")), (0, 2));
    assert!(alice.one::<bool>("SELECT wf_resume() AND wf_resume(workflow => 'waits')"));

    // A superuser's is of everybody, and for superusers to lift.
    assert!(db.one::<bool>("SELECT wf_pause(reason => 'upgrade')"));
    assert!(!alice.one::<bool>("SELECT wf_resume()"));
    let waiting: String = alice.one("SELECT waiting_for FROM wf.workflows WHERE id = 'a'");
    assert_eq!(waiting, "resume of everything (paused by postgres: upgrade)");
    assert_eq!(bob.count("wf.pauses"), 1);
    assert!(db.one::<bool>("SELECT wf_resume()"));

    // A member controls the instance; its code runs nowhere but in a session of its owner.
    assert!(carol.one::<bool>("SELECT wf_pause('a')"));
    for session in [&mut carol, &mut db] {
        let failure = session.fails("SELECT wf_step('a')");
        assert_eq!(failure.sqlstate, "42501", "{failure:?}");
        let failure = session.fails("SET ROLE alice; SELECT wf_step('a')");
        assert_eq!(failure.sqlstate, "42501", "{failure:?}");
        session.run("RESET ROLE");
    }
    alice.run("SELECT wf_signal('a', 'go')");
    let taken: Value = alice.one("SELECT wf_step('a')");
    assert_eq!(taken["call"]["kind"], json!("signal"), "{taken}");
    let taken: Value = alice.one("SELECT wf_step('a')");
    assert_eq!(taken["call"]["result"], json!(["alice"]));

    // A fork is its owner's, whoever makes it; the code of an input's check has no way out.
    db.run("SELECT wf_fork('a', 'who', 'a-fork')");
    assert_eq!(db.result("a-fork"), json!("alice"));
    assert_eq!(
        db.one::<String>("SELECT owner::text FROM wf.workflows WHERE id = 'a-fork'"),
        "alice"
    );
    alice.run(
        "CREATE TABLE seen (who text);
         CREATE FUNCTION look(integer) RETURNS boolean LANGUAGE plpgsql AS $$
         BEGIN
             RAISE WARNING 'checked by %', current_user;
             IF $1 < 0 THEN EXECUTE 'SET ROLE postgres'; END IF;
             RETURN true;
         END $$;
         CREATE DOMAIN watched AS integer CHECK (public.look(VALUE));
         CREATE FUNCTION takes(amount watched) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('s', 'SELECT current_user')->0; END $$;
         SELECT wf_start('takes', '{\"amount\": 1}', id => 'w')",
    );
    alice.result("w");
    db.run("SELECT wf_fork('w', 1, 'w-2', input => '{\"amount\": 2}')");
    assert_eq!(db.result("w-2"), json!("alice"));
    assert!(cluster.logged("checked by alice") > 0);
    assert_eq!(cluster.logged("checked by postgres"), 0);
    assert_eq!(
        db.fails("SELECT wf_fork('w', 1, 'w-3', input => '{\"amount\": -1}')")
            .sqlstate,
        "42501"
    );

    // The record of an instance is for those who may control it.
    let actions = |session: &mut Client| session.count("wf.actions WHERE id = 'a'");
    assert_eq!((actions(&mut alice), actions(&mut carol), actions(&mut bob)), (4, 4, 0));
    assert_eq!(
        db.count("wf.actions WHERE action = 'step' AND by = 'alice'::regrole"),
        2
    );
}

#[test]
fn a_dump_holds_pauses_and_their_hints() {
    let cluster = Cluster::new();
    let mut source = cluster.database("source");
    source.run(WAITS);
    source.run("SELECT wf_start('waits', id => 'w')");
    source.waits_for("w", "signal");
    source.run("SELECT wf_pause('w', reason => 'moving'); SELECT wf_signal('w', 'go')");
    parked(&mut source, 1);
    let dump = cluster.socket().join("dump.sql");
    let connection = |name: &str| {
        let mut command = program(name);
        command.arg("-h").arg(cluster.socket()).args(["-U", "postgres"]);
        command
    };
    check(connection("pg_dump").args(["-d", "source", "-f"]).arg(&dump));
    cluster.admin().run("CREATE DATABASE target");
    check(
        connection("psql")
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "target", "-f"])
            .arg(&dump),
    );
    let mut target = cluster.connect("target", "postgres");
    assert_eq!(target.fails("SELECT wf_step('w')").sqlstate, "55000");
    target.run("SELECT wf_adopt()");
    assert_eq!(target.status("w"), "paused");
    assert_eq!(
        target.all::<String>("SELECT action FROM wf.actions"),
        ["pause", "adopt"]
    );
    assert!(target.one::<bool>("SELECT wf_resume('w')"));
    assert_eq!(target.result("w"), json!("postgres"));
}

#[test]
fn a_retry_goes_on_behind_what_is_done() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(CHAINS);
    db.run("CREATE UNIQUE INDEX stop ON effects (link) WHERE link = 150; INSERT INTO effects (id, link) VALUES ('other', 150)");
    for workflow in ["chain", "chain_in_place"] {
        start(&mut db, workflow, workflow, 200);
        assert_eq!(db.failure(workflow).sqlstate, "23505");
        assert_eq!(db.count(&format!("effects WHERE id = '{workflow}'")), 149);
    }
    db.run("DROP INDEX stop");
    // What a process remembers of the history is of before.
    db.run("SELECT wf_retry(id) FROM wf.workflows WHERE status = 'failed'");
    for workflow in ["chain", "chain_in_place"] {
        whole(&mut db, workflow, 200);
        let id = format!("{workflow}-fork");
        db.run(&format!(
            "SELECT wf_fork('{workflow}', 191, '{id}', input => '{{\"id\": \"{id}\", \"n\": 200}}')"
        ));
        assert_eq!(db.result(&id), json!(200));
        assert_eq!(db.count(&format!("effects WHERE id = '{id}'")), 10);
    }
}
