//! What `wf_grant` gives: to start workflows, to see those of all roles, to control them; and what none of it gives.

use pg_workflow_server_tests::*;

const ROLES: &str = "
    CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE vera LOGIN; CREATE ROLE olga LOGIN; CREATE ROLE ops NOLOGIN;
    GRANT ops TO olga; GRANT CREATE ON SCHEMA public TO alice, bob";

const FLOWS: &str = "
    CREATE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_set('shown', '1');
        PERFORM wf_emit('said', '1');
        RETURN jsonb_build_array(current_user, wf_wait_signal('go'));
    END $$;
    CREATE FUNCTION fails(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        RETURN wf_step('once', 'SELECT 1 / coalesce((SELECT n FROM public.divisor), 0)', retry => '{\"max_attempts\": 1}');
    END $$;
    CREATE FUNCTION calls(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN PERFORM wf_wait_signal('go'); RETURN wf_call('quick', 'quick'); END $$;
    CREATE FUNCTION quick(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(1) $$;
    CREATE TABLE divisor (n int); GRANT SELECT ON divisor TO PUBLIC";

/// What changes an instance's data, or chooses what runs.
const OWN: [&str; 8] = [
    "wf_signal('a', 'go')",
    "wf_complete_step('a', 'go', '1')",
    "wf_skip('a')",
    "wf_fork('a', 1)",
    "wf_step('a')",
    "wf_upgrade('a')",
    "wf_alter_schedule('daily', input => '{}')",
    "wf_schedule_run('daily')",
];
const OPERATE: [&str; 5] = [
    "wf_cancel('a')",
    "wf_pause('a')",
    "wf_resume('a')",
    "wf_retry('f')",
    "wf_alter_schedule('daily', paused => true)",
];
const SEE: [&str; 10] = [
    "wf_status('a')",
    "wf_get('a')",
    "wf_get('a', 'shown')",
    "wf_result('done')",
    "wf_wait_value('a', 'shown')",
    "wf_read_stream('a', 'said')",
    "wf_explain('a')",
    "wf_timeline('a')",
    "wf_timeline_svg('a')",
    "wf_otlp('a')",
];

#[test]
fn viewers_see_and_operators_control_what_belongs_to_others() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run(FLOWS);
    let mut alice = cluster.connect("postgres", "alice");
    alice.run(
        "SELECT wf_start('waits', '{\"secret\": 1}', id => 'a'), wf_start('fails', id => 'f'), wf_start('quick', id => 'done');
         SELECT wf_schedule('daily', '0 0 * * *', 'quick'); SELECT wf_queue('q')",
    );
    alice.waits_for("a", "signal");
    alice.result("done");
    assert_eq!(alice.failure("f").sqlstate, "22012");
    let (mut bob, mut vera, mut olga) = (
        cluster.connect("postgres", "bob"),
        cluster.connect("postgres", "vera"),
        cluster.connect("postgres", "olga"),
    );

    // To everybody else it is as if nothing were there.
    for call in OWN.iter().chain(&OPERATE).chain(&SEE) {
        let failure = bob.fails(&format!("SELECT {call}"));
        assert_eq!(failure.sqlstate, "42704", "{call}: {failure:?}");
        let name = call.split('\'').nth(1).unwrap();
        let unknown = bob.fails(&format!("SELECT {}", call.replacen(&format!("'{name}'"), "'none'", 1)));
        let expected = failure.message.replace(&format!("\"{name}\""), "\"none\"");
        assert_eq!(expected, unknown.message, "{call}");
        assert_eq!((failure.detail, failure.hint), (unknown.detail, unknown.hint), "{call}");
    }
    assert_eq!(bob.one::<i32>("SELECT wf_purge('0')"), 0);
    assert!(!bob.one::<bool>("SELECT wf_unschedule('daily')"));

    // Only superusers give privileges, unless they let others.
    for call in ["wf_grant('bob', 'operate')", "wf_revoke('bob')"] {
        assert_eq!(bob.fails(&format!("SELECT {call}")).sqlstate, "42501", "{call}");
    }
    for (call, sqlstate) in [
        ("wf_grant('nobody')", "42704"),
        ("wf_grant('bob', 'everything')", "22023"),
        ("wf_grant(NULL)", "22004"),
        ("wf_grant('bob', NULL)", "22004"),
        ("wf_revoke('bob', 'use; DROP TABLE divisor')", "22023"),
        ("wf_grant('bob; DROP TABLE divisor')", "42704"),
    ] {
        assert_eq!(db.fails(&format!("SELECT {call}")).sqlstate, sqlstate, "{call}");
    }
    db.run("SELECT wf_grant('vera', 'view'), wf_grant('ops', 'operate')");
    assert_eq!(
        bob.all::<String>("SELECT role || ' ' || privilege || ' ' || granted_by FROM wf.grants ORDER BY 1"),
        ["ops operate postgres", "public use postgres", "vera view postgres"]
    );
    assert_eq!(db.count("wf.actions WHERE action = 'grant'"), 2);

    // A viewer sees everything and moves nothing.
    for call in SEE {
        for session in [&mut vera, &mut olga] {
            session.run(&format!("SELECT {call}"));
        }
    }
    for view in [
        "workflows",
        "steps",
        "streams",
        "waiting",
        "schedules",
        "queues",
        "timeline",
        "failures",
        "actions",
    ] {
        let rows = db.count(&format!("wf.{view}"));
        assert!(rows > 0, "{view}");
        for session in [&mut vera, &mut olga] {
            assert_eq!(session.count(&format!("wf.{view}")), rows, "{view}");
        }
        if view != "actions" {
            assert_eq!(bob.count(&format!("wf.{view}")), 0, "{view}");
        }
    }
    let refused = |session: &mut Client, call: &str| {
        let failure = session.fails(&format!("SELECT {call}"));
        // Of schedules of others only those are found that may be controlled.
        let expected = if call.contains("schedule") { "42704" } else { "42501" };
        assert_eq!(failure.sqlstate, expected, "{call}: {failure:?}");
    };
    for call in OWN.iter().chain(&OPERATE) {
        refused(&mut vera, call);
    }
    assert_eq!(vera.one::<i32>("SELECT wf_purge('0')"), 0);

    // An operator moves what is there, and puts nothing into it.
    for call in OWN {
        refused(&mut olga, call);
    }
    assert!(!olga.one::<bool>("SELECT wf_unschedule('daily')"));
    assert!(olga.one::<bool>("SELECT wf_pause('a', reason => 'look')"));
    assert_eq!(alice.status("a"), "paused");
    assert!(olga.one::<bool>("SELECT wf_resume('a')"));
    // A pause of everything is of every role, and not for its owners to lift.
    assert!(olga.one::<bool>("SELECT wf_pause()"));
    assert!(!alice.one::<bool>("SELECT wf_resume()"));
    assert_eq!(alice.status("a"), "paused");
    assert!(olga.one::<bool>("SELECT wf_resume()"));
    db.run("INSERT INTO divisor VALUES (1)");
    olga.run("SELECT wf_retry('f')");
    assert_eq!(alice.result("f"), json!([1]));
    olga.run("SELECT wf_alter_schedule('daily', paused => true)");
    assert_eq!(alice.one::<String>("SELECT status FROM wf.schedules"), "paused");
    assert!(olga.one::<bool>("SELECT wf_cancel('a', 'enough')"));
    assert_eq!(alice.failure("a").sqlstate, "WF002");
    let ended = db.count("wf.workflows WHERE finished_at IS NOT NULL");
    assert_eq!(i64::from(olga.one::<i32>("SELECT wf_purge('0')")), ended);
    // An id in use stays in use, for operators too.
    alice.run("SELECT wf_start('waits', id => 'a')");
    assert_eq!(olga.fails("SELECT wf_start('waits', id => 'a')").sqlstate, "42710");

    // Taken away, it is gone with the next statement, in sessions that have used it.
    db.run("SELECT wf_revoke('ops', 'operate'), wf_revoke('vera', 'view')");
    for session in [&mut vera, &mut olga] {
        assert_eq!(session.fails("SELECT wf_status('a')").sqlstate, "42704");
        assert_eq!(session.count("wf.workflows"), 0);
    }
    assert_eq!(olga.fails("SELECT wf_cancel('a')").sqlstate, "42704");
    // Whoever is let grant can.
    db.run("GRANT EXECUTE ON FUNCTION wf_grant(text, text) TO bob");
    bob.run("SELECT wf_grant('vera', 'view')");
    vera.run("SELECT wf_status('a')");
    assert_eq!(
        db.one::<String>("SELECT by::text FROM wf.actions WHERE action = 'grant' ORDER BY at DESC LIMIT 1"),
        "bob"
    );
}

#[test]
fn who_may_start_workflows_can_be_limited() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run(FLOWS);
    let (mut alice, mut bob) = (cluster.connect("postgres", "alice"), cluster.connect("postgres", "bob"));
    alice.run(
        "CREATE TABLE inbox (n int); GRANT INSERT ON inbox TO bob;
         SELECT wf_on('inbox', 'insert', 'quick');
         SELECT wf_start('calls', id => 'parent');
         SELECT wf_schedule('often', '1 second', 'quick')",
    );
    alice.waits_for("parent", "signal");
    eventually(SOON, "a tick has started one", || {
        alice.one::<i64>("SELECT fired FROM wf.schedules") > 0
    });
    db.run("SELECT wf_revoke('public')");

    for call in [
        "wf_start('quick')",
        "wf_fork('parent', 1)",
        "wf_test('quick')",
        "wf_define('named', 'quick')",
        "wf_schedule('more', '@daily', 'quick')",
        "wf_on('inbox', 'insert', 'quick', name => 'other')",
        "wf_queue('q')",
    ] {
        let failure = alice.fails(&format!("SELECT {call}"));
        assert_eq!(failure.sqlstate, "42501", "{call}: {failure:?}");
        assert!(failure.hint.contains("wf_grant('alice')"), "{call}: {failure:?}");
    }
    // What starts in her name does not either, whoever causes it.
    assert_eq!(bob.fails("INSERT INTO inbox VALUES (1)").sqlstate, "42501");
    eventually(SOON, "a tick was refused", || {
        alice.one::<Option<String>>("SELECT last_sqlstate FROM wf.schedules") == Some("42501".to_owned())
    });
    alice.run("SELECT wf_unschedule('often')");
    // What is in flight goes to its end, with its children.
    alice.run("SELECT wf_signal('parent', 'go')");
    assert_eq!(alice.result("parent"), json!(1));
    // Superusers are not asked.
    db.run("SELECT wf_start('quick', id => 'admin')");
    assert_eq!(db.result("admin"), json!(1));

    // To her alone.
    db.run("SELECT wf_grant('alice')");
    bob.run("INSERT INTO inbox VALUES (1)");
    alice.run("SELECT wf_start('quick', id => 'again')");
    assert_eq!(alice.result("again"), json!(1));
    assert_eq!(bob.fails("SELECT wf_start('quick')").sqlstate, "42501");

    // A dump has it all.
    db.run("SELECT wf_grant('ops', 'operate')");
    let dump = cluster.socket().join("dump.sql");
    let connection = |name: &str| {
        let mut command = program(name);
        command.arg("-h").arg(cluster.socket()).args(["-U", "postgres"]);
        command
    };
    check(connection("pg_dump").args(["-d", "postgres", "-f"]).arg(&dump));
    db.run("CREATE DATABASE copy");
    check(
        connection("psql")
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "copy", "-f"])
            .arg(&dump),
    );
    let grants = "SELECT role || ' ' || privilege FROM wf.grants ORDER BY 1";
    let mut copy = cluster.connect("copy", "postgres");
    assert_eq!(copy.all::<String>(grants), ["alice use", "ops operate"]);
    assert_eq!(db.all::<String>(grants), ["alice use", "ops operate"]);
    drop(copy);
    // A role that has some is held against DROP ROLE, as by any privilege.
    assert_eq!(db.fails("DROP ROLE ops").sqlstate, "2BP01");
    db.run("DROP DATABASE copy");
    db.run("SELECT wf_revoke('ops', 'operate'); DROP ROLE ops");
}
