//! Promise 6: user code runs as the instance's owner, in a process of that role; nobody sees or moves what is not theirs.

use std::time::Duration;

use pg_workflow_server_tests::*;

const ROLES: &str = "
    CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN; CREATE ROLE team NOLOGIN;
    GRANT alice TO carol; GRANT CREATE ON SCHEMA public TO alice, bob, carol, team";

const WHO: &str = "
    CREATE FUNCTION who(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    DECLARE seen jsonb;
    BEGIN
        seen := wf_step('who', 'SELECT current_user AS c, session_user AS s, usename AS u, current_setting(''is_superuser'') AS super,
                                       pid, backend_type AS kind
                                FROM pg_stat_activity WHERE pid = pg_backend_pid()')->0;
        RETURN seen || jsonb_build_object('outside', current_user || ' ' || session_user);
    END $$";

#[test]
fn code_runs_as_the_owner_in_a_process_of_the_owner() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run(WHO);
    let mut pids = Vec::new();
    for role in ["alice", "bob", "postgres"] {
        let mut session = cluster.connect("postgres", role);
        session.run(&format!("SELECT wf_start('who', id => 'w-{role}')"));
        let seen = session.result(&format!("w-{role}"));
        let superuser = if role == "postgres" { "on" } else { "off" };
        assert_eq!(
            (
                &seen["c"],
                &seen["s"],
                &seen["u"],
                &seen["super"],
                &seen["kind"],
                &seen["outside"]
            ),
            (
                &json!(role),
                &json!(role),
                &json!(role),
                &json!(superuser),
                &json!("pg_workflow executor"),
                &json!(format!("{role} {role}"))
            ),
        );
        pids.push(seen["pid"].as_i64().unwrap());
        let owner: String = db.one(&format!("SELECT owner::text FROM wf.workflows WHERE id = 'w-{role}'"));
        assert_eq!(owner, role);
    }
    pids.dedup();
    assert_eq!(pids.len(), 3, "a process each");
    // SET ROLE: the instance is of the role in force.
    let mut carol = cluster.connect("postgres", "carol");
    carol.run("SET ROLE alice; SELECT wf_start('who', id => 'w-as-alice')");
    assert_eq!(carol.result("w-as-alice")["s"], json!("alice"));
    // SECURITY DEFINER: of the definer.
    db.run(
        "CREATE FUNCTION start_for_bob(id text) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT public.wf_start('who', id => $1) $$;
         ALTER FUNCTION start_for_bob OWNER TO bob",
    );
    cluster
        .connect("postgres", "alice")
        .run("SELECT start_for_bob('w-for-bob')");
    assert_eq!(db.result("w-for-bob")["s"], json!("bob"));
    // No way up from inside.
    db.run(
        "CREATE TABLE secret (t text); INSERT INTO secret VALUES ('x');
         CREATE FUNCTION climbs(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             IF input->>'in' = 'step' THEN RETURN wf_step('s', input->>'sql'); END IF;
             EXECUTE input->>'sql'; RETURN '\"did\"';
         END $$",
    );
    let mut alice = cluster.connect("postgres", "alice");
    for sql in [
        "SELECT * FROM secret",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "RESET ROLE; SELECT * FROM public.secret",
        "RESET SESSION AUTHORIZATION; SELECT * FROM public.secret",
        "SELECT * FROM wf_internal.runs",
        "DELETE FROM wf_internal.ready",
        "SELECT wf_internal.announce()",
    ] {
        for place in ["step", "function"] {
            let input = json!({"in": place, "sql": sql}).to_string().replace('\'', "''");
            let id: String = alice.one(&format!("SELECT wf_start('climbs', '{input}')"));
            let failure = alice.failure(&id);
            assert!(
                matches!(failure.sqlstate.as_str(), "42501" | "25006" | "0A000"),
                "{sql} in {place}: {failure:?}"
            );
        }
    }
}

#[test]
fn others_neither_see_nor_move_it() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run(
        "CREATE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
        BEGIN PERFORM wf_set('a', '1'); RETURN wf_wait_signal('go'); END $$",
    );
    let (mut alice, mut bob, mut carol) = (
        cluster.connect("postgres", "alice"),
        cluster.connect("postgres", "bob"),
        cluster.connect("postgres", "carol"),
    );
    alice.run("SELECT wf_start('waits', '{\"secret\": 1}', id => 'a'); SELECT wf_start('waits', id => 'a2')");
    for id in ["a", "a2"] {
        alice.waits_for(id, "signal");
    }
    alice.run("SELECT wf_signal('a', 'unread')");
    for call in [
        "wf_signal('a', 'go')",
        "wf_cancel('a')",
        "wf_status('a')",
        "wf_result('a')",
        "wf_get('a')",
        "wf_get('a', 'a')",
    ] {
        let failure = bob.fails(&format!("SELECT {call}"));
        assert_eq!(failure.sqlstate, "42704", "{call}: {failure:?}");
    }
    let failure = bob.fails("SELECT wf_start('waits', '{\"secret\": 1}', id => 'a')");
    assert_eq!(
        (failure.sqlstate.as_str(), failure.detail.as_str()),
        ("42710", "It belongs to another role.")
    );
    for (view, rows) in [("workflows", 2), ("steps", 4), ("signals", 1)] {
        assert_eq!(bob.count(&format!("wf.{view}")), 0, "{view}");
        assert_eq!(alice.count(&format!("wf.{view}")), rows, "{view}");
        assert_eq!(carol.count(&format!("wf.{view}")), rows, "{view}");
    }
    assert_eq!(bob.count("wf.workers WHERE id IS NOT NULL OR workflow IS NOT NULL"), 0);
    // A function in WHERE that tells what it sees is not shown other people's rows.
    bob.run(
        "CREATE FUNCTION tell(t text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE 'saw %', t; END $$",
    );
    assert_eq!(bob.count("wf.workflows WHERE tell(id)"), 0);

    // A member of the owner may.
    assert!(carol.one::<bool>("SELECT wf_signal('a', 'go', '\"from carol\"')"));
    assert_eq!(carol.result("a"), json!("from carol"));
    assert_eq!(
        carol.one::<String>("SELECT sent_by::text FROM wf.signals WHERE name = 'go'"),
        "carol"
    );
    assert!(carol.one::<bool>("SELECT wf_cancel('a2')"));
    assert_eq!(alice.failure("a2").sqlstate, "WF002");

    for (role, session) in [("alice", &mut alice), ("bob", &mut bob)] {
        let tables: Vec<String> = db.all(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'v', 'S') AND relnamespace IN ('wf_internal'::regnamespace)",
        );
        assert!(tables.len() >= 8);
        for table in tables {
            assert_eq!(
                session.fails(&format!("SELECT * FROM {table}")).sqlstate,
                "42501",
                "{role} {table}"
            );
        }
        assert_eq!(session.fails("SELECT wf_adopt()").sqlstate, "42501");
    }
}

#[test]
fn a_role_that_cannot_log_in_owns_nothing() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run(WHO);
    db.run("SET ROLE team");
    let failure = db.fails("SELECT wf_start('who')");
    assert_eq!(failure.sqlstate, "28000");
    assert!(failure.hint.contains("LOGIN"), "{failure:?}");
    db.run("RESET ROLE");
    assert_eq!(db.count("wf_internal.runs"), 0);
    // No EXECUTE, no start.
    db.run("REVOKE ALL ON FUNCTION who FROM PUBLIC");
    assert_eq!(
        cluster
            .connect("postgres", "alice")
            .fails("SELECT wf_start('who')")
            .sqlstate,
        "42501"
    );
    // One that loses LOGIN later disturbs nobody else.
    db.run("GRANT EXECUTE ON FUNCTION who TO alice, bob");
    cluster
        .connect("postgres", "alice")
        .run("SELECT wf_start('who', id => 'late', delay => '300 ms')");
    db.run("ALTER ROLE alice NOLOGIN");
    let mut bob = cluster.connect("postgres", "bob");
    for i in 0..20 {
        bob.run(&format!("SELECT wf_start('who', id => 'b-{i}')"));
        assert_eq!(bob.result(&format!("b-{i}"))["s"], json!("bob"));
    }
}

#[test]
fn settings_temp_tables_and_locks_do_not_cross_roles() {
    let cluster = Cluster::with(&["pg_workflow.max_executors = 1"]);
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run(
        "CREATE FUNCTION leaves(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             RETURN wf_step('s', $s$ CREATE TEMP TABLE IF NOT EXISTS leak (t text); INSERT INTO leak VALUES (current_user);
                                     SELECT set_config('my.leak', current_user, false), pg_advisory_lock(7), pg_advisory_unlock(7) $s$);
         END $$;
         CREATE FUNCTION looks(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             RETURN wf_step('s', $s$ SELECT coalesce(current_setting('my.leak', true), '') AS setting, to_regclass('pg_temp.leak') AS temp $s$)->0;
         END $$",
    );
    let (mut alice, mut bob) = (cluster.connect("postgres", "alice"), cluster.connect("postgres", "bob"));
    for i in 0..5 {
        alice.run(&format!("SELECT wf_start('leaves', id => 'l-{i}')"));
        alice.result(&format!("l-{i}"));
        bob.run(&format!("SELECT wf_start('looks', id => 'b-{i}')"));
        assert_eq!(bob.result(&format!("b-{i}")), json!({"setting": "", "temp": null}));
        // A setting does not even stay with its own role.
        alice.run(&format!("SELECT wf_start('looks', id => 'a-{i}')"));
        assert_eq!(alice.result(&format!("a-{i}"))["setting"], json!(""));
    }
    // A role's own settings hold for it.
    db.run("ALTER ROLE bob SET work_mem = '33MB'");
    db.run(
        "CREATE FUNCTION mem(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
        BEGIN RETURN wf_step('s', 'SELECT current_setting(''work_mem'')')->0; END $$",
    );
    db.run("ALTER ROLE carol SET work_mem = '44MB'; ALTER ROLE carol SET default_transaction_read_only = on; ALTER ROLE carol SET search_path = 'pg_catalog'");
    let mut carol = cluster.connect("postgres", "carol");
    carol.run("SET default_transaction_read_only = off; SET search_path = public; BEGIN READ WRITE; SELECT wf_start('mem', id => 'mem'); COMMIT");
    eventually(Duration::from_secs(10), "carol's instance ends", || {
        carol.one::<String>("SELECT wf_status('mem')") != "pending"
    });
    assert_eq!(carol.result("mem"), json!("44MB"));
}

#[test]
fn a_session_runs_only_what_belongs_to_the_role_it_is_connected_as() {
    let cluster = Cluster::bare(&[]);
    let mut admin = cluster.admin();
    admin.run("CREATE EXTENSION pg_workflow; CREATE ROLE bob LOGIN; GRANT CREATE ON SCHEMA public TO bob");
    let mut bob = cluster.connect("postgres", "bob");
    bob.run(
        "CREATE FUNCTION climbs(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('climb', 'RESET ROLE; CREATE ROLE evil SUPERUSER'); END $$;
         SELECT wf_start('climbs', id => 'c')",
    );
    // After SET ROLE the code could RESET ROLE and be the superuser that the session is.
    admin.run("SET ROLE bob");
    let failure = admin.fails("CALL wf_run_pending()");
    assert_eq!(failure.sqlstate, "42501", "{failure:?}");
    assert!(failure.hint.contains("Connect as the role"), "{failure:?}");
    admin.run("RESET ROLE");
    admin.run(
        "CREATE FUNCTION as_bob() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN CALL wf_run_pending(); END $$;
         ALTER FUNCTION as_bob() OWNER TO bob",
    );
    assert_eq!(admin.fails("SELECT as_bob()").sqlstate, "42501");
    bob.run("CALL wf_run_pending()");
    assert_eq!(bob.failure("c").sqlstate, "42501");
    assert_eq!(admin.count("pg_roles WHERE rolname = 'evil'"), 0);
}

#[test]
fn names_given_by_others_are_not_found() {
    let cluster = Cluster::new();
    let mut admin = cluster.admin();
    admin.run("CREATE ROLE mallory LOGIN; CREATE ROLE alice LOGIN; CREATE SCHEMA mal AUTHORIZATION mallory; GRANT mallory TO alice");
    admin.run(
        "CREATE FUNCTION cleanup(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '\"good\"'; END $$",
    );
    let mut mallory = cluster.connect("postgres", "mallory");
    mallory.run(
        "CREATE FUNCTION mal.evil(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('climb', 'ALTER ROLE mallory SUPERUSER'); END $$;
         SELECT wf_define('cleanup', 'mal.evil')",
    );
    // Neither by a superuser, who has everybody's privileges, nor by a member.
    for user in ["postgres", "alice"] {
        let mut db = cluster.connect("postgres", user);
        db.run(&format!("SELECT wf_start('cleanup', id => '{user}')"));
        assert_eq!(db.result(user), json!("good"), "{user}");
        assert!(!db.one::<bool>("SELECT wf_undefine('cleanup')"));
    }
    assert!(!admin.one::<bool>("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'"));
}

#[test]
fn restoring_an_old_version_runs_nobody_s_code_as_the_engine() {
    let cluster = Cluster::new();
    let mut admin = cluster.admin();
    admin.run("CREATE ROLE mallory LOGIN; CREATE SCHEMA mal AUTHORIZATION mallory; CREATE TABLE seen (who text); GRANT INSERT ON seen TO PUBLIC");
    let mut mallory = cluster.connect("postgres", "mallory");
    // A composite default is read when the function is created, and with it the domain's CHECK.
    mallory.run(
        "SET search_path = mal, public;
         CREATE FUNCTION chk(i int) RETURNS boolean LANGUAGE plpgsql AS $$
         BEGIN
             IF current_user <> 'mallory' THEN INSERT INTO public.seen VALUES (current_user); END IF;
             RETURN true;
         END $$;
         CREATE DOMAIN d AS int CHECK (mal.chk(value));
         CREATE TYPE c AS (a d);
         CREATE FUNCTION wf(o c DEFAULT '(1)') RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('go'); END $$;
         SELECT wf_start('wf', id => 'm')",
    );
    mallory.waits_for("m", "signal");
    mallory.run("CREATE OR REPLACE FUNCTION wf(o c DEFAULT '(1)') RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '0'; END $$");
    mallory.run("SELECT wf_signal('m', 'go', '7')");
    assert_eq!(mallory.result("m"), json!(7));
    assert_eq!(admin.all::<String>("SELECT who FROM seen"), Vec::<String>::new());
    assert_eq!(
        admin.one::<String>(
            "SELECT pg_get_userbyid(proowner)::text FROM pg_proc WHERE pronamespace = 'wf_versions'::regnamespace"
        ),
        "mallory"
    );
    assert!(!admin.one::<bool>("SELECT has_schema_privilege('mallory', 'wf_versions', 'CREATE')"));
}

#[test]
fn pinned_code_is_no_way_around_a_revoke() {
    let cluster = Cluster::new();
    let mut admin = cluster.admin();
    admin.run("CREATE ROLE alice LOGIN");
    admin.run("CREATE FUNCTION pinned(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('go'); END $$");
    let mut alice = cluster.connect("postgres", "alice");
    alice.run("SELECT wf_start('pinned', id => 'p')");
    alice.waits_for("p", "signal");
    admin.run(
        "REVOKE EXECUTE ON FUNCTION pinned FROM PUBLIC;
         CREATE OR REPLACE FUNCTION pinned(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '0'; END $$",
    );
    alice.run("SELECT wf_signal('p', 'go')");
    assert_eq!(alice.failure("p").sqlstate, "42501");
}
