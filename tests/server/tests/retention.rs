//! What has ended goes by itself when its time of retention is over, and nothing else does.

use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

const FLOWS: &str = "
    CREATE FUNCTION hello(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN PERFORM wf_step('greet', 'SELECT 1'); RETURN '\"hello\"'; END $$;
    CREATE FUNCTION fails(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
    CREATE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('go'); END $$;
    CREATE FUNCTION parent(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        BEGIN PERFORM wf_call('call', 'fails', id => 'child'); EXCEPTION WHEN OTHERS THEN NULL; END;
        RETURN wf_wait_signal('go');
    END $$;
    CREATE FUNCTION counts(n int) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        IF n < 4 THEN PERFORM wf_continue_as_new(jsonb_build_object('n', n + 1)); END IF;
        RETURN '\"counted\"';
    END $$;";

/// Ids that are there.
fn ids(db: &mut Client) -> Vec<String> {
    db.all("SELECT DISTINCT id FROM wf_internal.runs ORDER BY id")
}

/// Waits until no more ids are there than those.
fn come_to(db: &mut Client, wanted: &[&str]) {
    let mut found = Vec::new();
    eventually(SOON, &format!("only {wanted:?} are left"), || {
        found = ids(db);
        found.len() <= wanted.len()
    });
    assert_eq!(found, wanted);
}

/// Has a setting take effect.
fn set(db: &mut Client, setting: &str, value: &str) {
    db.run(&format!("ALTER SYSTEM SET pg_workflow.{setting} = '{value}'"));
    db.run("SELECT pg_reload_conf()");
}

#[test]
fn what_has_come_of_age_goes_by_itself_and_nothing_else() {
    let cluster = Cluster::with(&["pg_workflow.retention = '1h'"]);
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.run("SELECT wf_start('hello', id => 'h-' || i) FROM generate_series(1, 300) i");
    db.run("SELECT wf_start('fails', id => 'a'), wf_start('fails', id => 'b')");
    db.run("SELECT wf_start('waits', id => 'open'), wf_start('parent', id => 'parent')");
    db.run("SELECT wf_start('counts', '{\"n\": 1}', id => 'line')");
    db.failure("a");
    db.run("SELECT wf_retry('a', 'for the record')");
    db.waits_for("parent", "signal");
    db.run("SELECT wf_pause('open')");
    db.run("SELECT wf_resume('open')");
    eventually(SOON, "all have ended", || {
        db.count("wf_internal.runs WHERE finished_at IS NULL") == 2
    });
    assert_eq!(db.count("wf_internal.runs"), 300 + 2 + 3 + 4);

    // The rule is there before the setting: at no time are those that failed without one.
    let mut other = cluster.admin();
    other.run("BEGIN; SELECT FROM wf_internal.runs WHERE id = 'h-7' FOR UPDATE");
    db.run("SELECT wf_retention('fails', failed => '1000 years')");
    set(&mut db, "retention", "1s");
    // One is held by somebody, who is not waited for. A child that has failed stays with its parent.
    come_to(&mut db, &["a", "b", "child", "h-7", "open", "parent"]);
    other.run("ROLLBACK");
    come_to(&mut db, &["a", "b", "child", "open", "parent"]);
    assert_eq!(
        db.count("wf_internal.steps s WHERE NOT EXISTS (SELECT FROM wf_internal.runs r WHERE r.run_id = s.run_id)"),
        0
    );
    assert_eq!(db.one::<i64>("SELECT removed FROM wf.retention"), 300 + 4);
    assert!(
        db.one::<bool>("SELECT swept_at IS NOT NULL AND enabled AND rules = 1 AND retention = '1 s' FROM wf.retention")
    );
    // What was done to one that is there is known as long as it is.
    assert_eq!(db.count("wf.actions WHERE id = 'a'"), 1);
    // The id is free again.
    db.run("SELECT wf_start('hello', id => 'h-1', on_conflict => 'fail')");
    assert_eq!(db.result("h-1"), json!("hello"));
    // The rule goes, and with it what it kept, in the order from above: the parent ends.
    assert!(db.one::<bool>("SELECT wf_retention('fails')"));
    assert!(!db.one::<bool>("SELECT wf_retention('fails')"));
    come_to(&mut db, &["child", "open", "parent"]);
    db.run("SELECT wf_signal('parent', 'go')");
    come_to(&mut db, &["open"]);
    eventually(SOON, "nor is there a record of what was done to them", || {
        db.count("wf.actions WHERE id = 'a'") == 0
    });
    assert_eq!(db.count("wf.actions WHERE id = 'open'"), 2);

    // With nothing to come it rests.
    let transactions = |db: &mut Client| -> i64 {
        db.one("SELECT (xact_commit + xact_rollback)::int8 FROM pg_stat_database WHERE datname = 'quiet'")
    };
    let mut quiet = cluster.database("quiet");
    quiet.run(FLOWS);
    quiet.run("SELECT wf_start('hello', id => 'h'), wf_start('waits', id => 'w')");
    come_to(&mut quiet, &["w"]);
    drop(quiet);
    let (mut last, mut since) = (transactions(&mut db), Instant::now());
    eventually(SOON, "it rests for longer than anything is kept", || {
        let now = transactions(&mut db);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_secs(4)
    });
    // And comes back when something ends.
    let mut quiet = cluster.connect("quiet", "postgres");
    quiet.run("SELECT wf_start('hello', id => 'h')");
    come_to(&mut quiet, &["w"]);
}

#[test]
fn rules_count_for_whose_they_are() {
    let cluster = Cluster::with(&["pg_workflow.retention = -1"]);
    let mut db = cluster.admin();
    db.run("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; GRANT CREATE ON SCHEMA public TO alice");
    let (mut alice, mut bob) = (cluster.connect("postgres", "alice"), cluster.connect("postgres", "bob"));
    alice.run(FLOWS);
    for (user, name) in [(&mut alice, "alice"), (&mut bob, "bob")] {
        user.run(&format!(
            "SELECT wf_start('hello', id => '{name}-hello'), wf_start('fails', id => '{name}-fails'), wf_start('counts', '{{\"n\": 4}}', id => '{name}-counts')"
        ));
        user.result(&format!("{name}-hello"));
        user.result(&format!("{name}-counts"));
        user.failure(&format!("{name}-fails"));
    }
    // A role's own.
    alice.run("SELECT wf_retention(completed => '0', failed => '1 day')");
    come_to(&mut db, &["alice-fails", "bob-counts", "bob-fails", "bob-hello"]);
    assert_eq!(
        alice.all::<String>("SELECT concat_ws(' ', owner, completed, failed) FROM wf.retention_rules"),
        ["alice 00:00:00 1 day"]
    );
    assert_eq!(bob.count("wf.retention_rules"), 0);
    // A superuser's is every role's, behind what these have said themselves.
    db.run("SELECT wf_retention('counts', completed => '0'), wf_retention(failed => '1000 years')");
    come_to(&mut db, &["alice-fails", "bob-fails", "bob-hello"]);
    bob.run("SELECT wf_retention('fails', completed => '1 day', failed => '0')");
    come_to(&mut db, &["alice-fails", "bob-hello"]);

    // Nothing is taken while it is switched off, or where the rows are not at home.
    set(&mut db, "background_purge", "off");
    eventually(SOON, "it is off", || {
        db.one::<bool>("SELECT NOT enabled AND behind IS NULL FROM wf.retention")
    });
    db.run("SELECT wf_retention(completed => '0')");
    let kept = |db: &mut Client| {
        throughout(Duration::from_millis(1500), "nothing is removed", || {
            db.count("wf_internal.runs") == 2
        });
    };
    kept(&mut db);
    db.run("CREATE TABLE home AS TABLE wf_internal.home; UPDATE wf_internal.home SET installation = gen_random_uuid()");
    set(&mut db, "background_purge", "on");
    kept(&mut db);
    db.run("SELECT wf_adopt()");
    come_to(&mut db, &["alice-fails"]);

    // Wrong use.
    let failure = alice.fails("SELECT wf_retention('hello', '-1 day')");
    assert_eq!(
        (failure.sqlstate.as_str(), failure.message.as_str()),
        ("22023", "completed must not be negative")
    );
    assert!(failure.hint.contains("1000 years"), "{failure:?}");
    assert_eq!(
        alice.fails("SELECT wf_retention('hello', failed => '-1 s')").message,
        "failed must not be negative"
    );
    let failure = alice.fails("SELECT wf_retention('nonsense', '1 day')");
    assert_eq!((failure.sqlstate.as_str(), failure.hint.is_empty()), ("42883", false));
    assert_eq!(
        alice
            .fails("BEGIN READ ONLY; SELECT wf_retention('hello', '1 day')")
            .sqlstate,
        "25006"
    );
}
