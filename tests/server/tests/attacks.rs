//! Attacks on what SECURITY.md promises, each by a role that may connect, start workflows and create objects in `public`.
//! More of them stand beside what they attack: roles.rs, safety.rs, triggers.rs, tasks.rs, procedures/owners.rs.

use std::time::Duration;

use pg_workflow_server_tests::*;

/// alice is honest, mallory is not.
const ROLES: &str = "
    CREATE ROLE alice LOGIN; CREATE ROLE mallory LOGIN; CREATE ROLE team NOLOGIN; GRANT team TO alice;
    GRANT CREATE ON SCHEMA public TO alice, mallory;
    CREATE TABLE seen (who text, what text); GRANT SELECT, INSERT ON seen TO PUBLIC;
    CREATE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN public.wf_wait_signal('go'); END $$";

/// What was run although it was only planted: nothing, unless by mallory herself.
fn nothing_seen(db: &mut Client) {
    let seen: Vec<String> = db.all("SELECT DISTINCT who || ' ran ' || what FROM public.seen WHERE who <> 'mallory'");
    assert_eq!(seen, Vec::<String>::new());
}

/// A function that tells who has run it, under the name and with the parameters of another.
fn plant(db: &mut Client, signature: &str, result: &str, value: &str) {
    db.run(&format!(
        "CREATE FUNCTION {signature} RETURNS {result} LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO public.seen VALUES (CURRENT_USER, '{signature}'); RETURN {value}; END $$"
    ));
}

fn plant_operator(db: &mut Client, operator: &str, left: &str, right: &str, result: &str, value: &str) {
    let n = db.count("pg_operator WHERE oprnamespace = 'public'::regnamespace");
    plant(db, &format!("public.planted_{n}(a {left}, b {right})"), result, value);
    db.run(&format!(
        "CREATE OPERATOR public.{operator} (FUNCTION = public.planted_{n}, LEFTARG = {left}, RIGHTARG = {right})"
    ));
}

#[test]
fn operators_planted_before_the_extension_are_not_bound_into_it() {
    let cluster = Cluster::bare(&["shared_preload_libraries = 'pg_workflow'"]);
    let mut db = cluster.admin();
    db.run("CREATE ROLE mallory LOGIN; GRANT CREATE ON SCHEMA public TO mallory; CREATE TABLE seen (who text, what text); GRANT INSERT ON seen TO PUBLIC");
    let mut mallory = cluster.connect("postgres", "mallory");
    // Better matches than pg_catalog has for what the views compare and compute.
    for (operator, left, right, result, value) in [
        ("&", "smallint", "integer", "integer", "1"),
        ("*", "bigint", "interval", "interval", "NULL"),
        ("=", "regrole", "oid", "boolean", "true"),
        ("=", "oid", "regrole", "boolean", "true"),
        ("=", "regrole", "regrole", "boolean", "true"),
        ("=", "oid", "regprocedure", "boolean", "true"),
        ("||", "name", "text", "text", "NULL"),
        ("<>", "\"char\"", "text", "boolean", "true"),
    ] {
        plant_operator(&mut mallory, operator, left, right, result, value);
    }
    db.run("CREATE EXTENSION pg_workflow");
    let bound: Vec<String> = db.all(
        "SELECT DISTINCT d.objid::regclass::text || ' ' || coalesce(d.refobjid::regoperator::text, '')
         FROM (SELECT r.ev_class AS objid, p.refobjid, p.refclassid FROM pg_depend p JOIN pg_rewrite r ON p.objid = r.oid
               WHERE p.classid = 'pg_rewrite'::regclass) AS d
         JOIN pg_operator o ON o.oid = d.refobjid AND d.refclassid = 'pg_operator'::regclass
         WHERE o.oprnamespace <> 'pg_catalog'::regnamespace",
    );
    assert_eq!(bound, Vec::<String>::new());
    db.run("CREATE FUNCTION w(input jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb'; CREATE TABLE t (i int); SELECT wf_on('t', 'insert', 'w')");
    db.run(
        "INSERT INTO t VALUES (1); SELECT wf_queue('q', rate => 1), wf_schedule('s', '@daily', 'w', jitter => '1 s')",
    );
    for view in db.all::<String>(
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'wf'::regnamespace AND relkind = 'v'",
    ) {
        db.run(&format!("SELECT * FROM {view}"));
    }
    nothing_seen(&mut db);
}

#[test]
fn what_is_planted_beside_the_extension_is_never_run() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run(
        "CREATE FUNCTION stays(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM public.wf_set('a', '1');
             PERFORM public.wf_emit('b', '2');
             PERFORM public.wf_step('s', 'SELECT 1', cache_key => 'k');
             RETURN public.wf_wait_signal('go');
         END $$;
         CREATE FUNCTION asks(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN public.wf_task('t', 'q', '{}'); END $$;
         CREATE TABLE inbox (n int); GRANT INSERT ON inbox TO PUBLIC; GRANT TRIGGER ON inbox TO alice",
    );
    let mut mallory = cluster.connect("postgres", "mallory");
    for (signature, result, value) in [
        ("public.now()", "timestamptz", "'2000-01-01'"),
        ("public.clock_timestamp()", "timestamptz", "'2000-01-01'"),
        ("public.pg_has_role(oid, text)", "boolean", "true"),
        ("public.pg_has_role(regrole, text)", "boolean", "true"),
        ("public.has_function_privilege(text, text, text)", "boolean", "true"),
        ("public.quote_ident(text)", "text", "$1"),
        ("public.quote_literal(text)", "text", "$1"),
        ("public.lower(text)", "text", "$1"),
        ("public.set_config(text, text, boolean)", "text", "$2"),
        ("public.current_setting(text)", "text", "$1"),
        ("public.pg_get_userbyid(oid)", "name", "'mallory'"),
        ("public.pg_get_functiondef(oid)", "text", "''"),
        ("public.jsonb_typeof(jsonb)", "text", "'null'"),
        ("public.md5(text)", "text", "''"),
        ("public.gen_random_uuid()", "uuid", "NULL"),
        // Overloads that fit calls of the engine's functions better than they do themselves.
        ("public.wf_signal(id text, name text)", "boolean", "true"),
        ("public.wf_start(workflow text, input jsonb, id text)", "text", "$3"),
        ("public.start_for_row(text, jsonb, text)", "void", ""),
    ] {
        plant(&mut mallory, signature, result, value);
    }
    for (operator, left, right, result, value) in [
        ("=", "text", "text", "boolean", "true"),
        ("=", "uuid", "uuid", "boolean", "true"),
        ("=", "regrole", "oid", "boolean", "true"),
        ("=", "oid", "oid", "boolean", "true"),
        ("<>", "text", "text", "boolean", "false"),
        ("<=", "timestamptz", "timestamptz", "boolean", "true"),
        ("||", "text", "text", "text", "NULL"),
        ("->>", "jsonb", "text", "text", "NULL"),
        ("->", "jsonb", "text", "jsonb", "NULL"),
    ] {
        plant_operator(&mut mallory, operator, left, right, result, value);
    }
    // Types and tables of a session are found before all others, unless the path says otherwise.
    let traps = "
        CREATE TEMP TABLE pg_database AS SELECT 'x'::text AS datname; CREATE TEMP TABLE pg_proc (proname text);
        CREATE TEMP TABLE pg_authid (oid oid, rolname text); CREATE TEMP TABLE runs (id text); CREATE TEMP TABLE workflows (id text);
        CREATE DOMAIN pg_temp.oid AS pg_catalog.oid; CREATE DOMAIN pg_temp.jsonb AS pg_catalog.jsonb;
        SET search_path = pg_temp, public, pg_catalog";
    let calls = [
        "public.wf_define('named', 'public.stays')",
        "public.wf_start('stays', id => '{}')",
        "public.wf_start('stays', id => '{}-2', delay => '1 day', timeout => '2 days')",
        "public.wf_status('{}')",
        "public.wf_get('{}')",
        "public.wf_wait_value('{}', 'a')",
        "count(public.wf_read_stream('{}', 'b', wait => '20 s'))",
        "public.wf_pause('{}')",
        "public.wf_resume('{}')",
        "public.wf_pause('{}')",
        "public.wf_step('{}')",
        "public.wf_resume('{}')",
        "public.wf_upgrade('{}')",
        "count(public.wf_replay_check('stays'))",
        "public.wf_fork('{}', 1, '{}-fork')",
        "public.wf_signal('{}', 'go', '1', NULL)",
        "public.wf_result('{}', '20 s')",
        "public.wf_cancel('{}-fork')",
        "public.wf_skip('{}-2')",
        "public.wf_queue('q', max_running => 3, rate => 100, workers => '{team}')",
        "public.wf_start('asks', id => '{}-task', queue => 'q', key => 'k')",
        "count(public.wf_poll('q'))",
        "public.wf_schedule('{}', '@daily', 'stays')",
        "public.wf_alter_schedule('{}', paused => true)",
        "count(public.wf_schedule_preview('{}', 2))",
        "public.wf_unschedule('{}')",
        "public.wf_on('public.inbox', 'insert', 'waits', name => '{}')",
        "count(public.wf_check('stays'))",
        "public.wf_test('stays', signals => '[{\"name\": \"go\"}]')",
        "public.wf_cache_forget(NULL)",
        "public.wf_purge('0')",
        "public.wf_undefine('named')",
        "count(public.wf_health())",
    ];
    for role in ["alice", "postgres"] {
        for path in ["SET search_path = public, pg_catalog", traps] {
            let mut session = cluster.connect("postgres", role);
            session.run(path);
            let id = format!("{role}-{}", path.len());
            for call in calls {
                let call = call.replace("{}", &id);
                // Some of it fails, under names that are not what they seem: with Postgres' own errors.
                if let Err(failure) = session.attempt(&format!("SELECT {call}")) {
                    assert!(!failure.sqlstate.starts_with("XX"), "{call}: {failure:?}");
                }
            }
            for view in db.all::<String>(
                "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'wf'::regnamespace AND relkind = 'v'",
            ) {
                session.run(&format!("SELECT count(*) FROM {view}"));
            }
        }
    }
    for call in ["wf_adopt()", "wf_grant('alice', 'view')", "wf_revoke('alice', 'view')"] {
        db.run(&format!(
            "SET search_path = public, pg_catalog; SELECT public.{call}; RESET search_path"
        ));
    }
    // By mallory: what runs for others because she changes a row, or asks a function that runs as its owner.
    mallory.run(traps);
    mallory.run("INSERT INTO public.inbox VALUES (1)");
    assert!(mallory.one::<i64>("SELECT count(*) FROM public.wf_health()") >= 6);
    mallory.run("SET search_path = public, pg_catalog; INSERT INTO public.inbox VALUES (2)");
    eventually(SOON, "what that has started waits", || {
        db.count(
            "wf.workflows WHERE workflow = 'waits' AND status = 'waiting' AND owner::text IN ('alice', 'postgres')",
        ) >= 2
    });
    nothing_seen(&mut db);
}

#[test]
fn a_step_changes_neither_its_role_nor_what_others_find() {
    let cluster = Cluster::with(&["pg_workflow.max_executors = 1"]);
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run(
        "CREATE FUNCTION does(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             RETURN jsonb_build_array(wf_step('s', input->>'sql'), current_user, session_user, current_setting('role'));
         END $$;
         CREATE PROCEDURE does_in_place(input jsonb, INOUT result jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
         DECLARE s jsonb;
         BEGIN
             CALL wf_step('s', input->>'sql', '{}', s);
             result := jsonb_build_array(s, current_user, session_user, current_setting('role'));
         END $$;
         CREATE FUNCTION finds(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             RETURN wf_step('s', $s$ SELECT current_user || '/' || session_user AS role, current_setting('role') AS set,
                 (SELECT count(*) FROM pg_prepared_statements WHERE name = 'left') AS prepared,
                 (SELECT count(*) FROM pg_cursors WHERE name = 'left') AS cursors,
                 to_regclass('pg_temp.left') AS temp, coalesce(current_setting('my.left', true), '') AS setting,
                 (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711) AS locks $s$)->0;
         END $$",
    );
    let nothing = |role: &str| json!({"role": format!("{role}/{role}"), "set": "none", "prepared": 0, "cursors": 0, "temp": null, "setting": "", "locks": 0});
    let (mut alice, mut mallory) = (
        cluster.connect("postgres", "alice"),
        cluster.connect("postgres", "mallory"),
    );
    alice.run("CREATE FUNCTION as_alice() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text'");
    let mut number = 0;
    for workflow in ["does", "does_in_place"] {
        for (sql, expected) in [
            ("SET ROLE team", None),
            ("RESET ROLE", None),
            ("RESET SESSION AUTHORIZATION", None),
            ("SET SESSION AUTHORIZATION DEFAULT", None),
            ("SELECT set_config('role', 'team', false)", None),
            ("SET ROLE mallory", Some("42501")),
            ("SET SESSION AUTHORIZATION postgres", Some("42501")),
            ("ALTER ROLE CURRENT_USER SUPERUSER", Some("42501")),
            ("ALTER ROLE postgres SET search_path = mal", Some("42501")),
            ("SET LOCAL session_preload_libraries = 'x'", Some("42501")),
            ("SELECT as_alice()", None),
            ("PREPARE \"left\" AS SELECT 1", None),
            ("DECLARE \"left\" CURSOR WITH HOLD FOR SELECT 1", None),
            ("CREATE TEMP TABLE \"left\" (i int)", None),
            ("SELECT set_config('my.left', 'x', false)", None),
            ("SELECT pg_advisory_lock(4711)", None),
            ("LISTEN somebody", Some("0A000")),
        ] {
            number += 1;
            let id = format!("does-{number}");
            let input = json!({"sql": sql}).to_string().replace('\'', "''");
            mallory.run(&format!(
                "SELECT wf_start('{workflow}', '{}', id => 'm{id}')",
                input.replace("mallory", "alice")
            ));
            let sqlstate = |session: &mut Client, id: &str| {
                let ended = session.attempt(&format!("SELECT wf_result('{id}', '50 s')"));
                ended.err().map(|failure| failure.sqlstate)
            };
            let of_alice = sql.contains("team") || sql.contains("as_alice");
            let failed = sqlstate(&mut mallory, &format!("m{id}"));
            if sql.contains("team") {
                assert_eq!(failed.as_deref(), Some("42501"), "{sql}");
            } else if !of_alice {
                // Some of it cannot be done twice in one process.
                assert!(failed.as_deref() == expected || expected.is_none(), "{sql}: {failed:?}");
            }
            // Behind the commit.
            eventually(SOON, "its locks are given back", || {
                db.count("pg_locks WHERE locktype = 'advisory' AND objid = 4711") == 0
            });
            alice.run(&format!("SELECT wf_start('finds', id => '{id}')"));
            assert_eq!(
                alice.result(&id),
                nothing("alice"),
                "after {sql} of mallory's in {workflow}"
            );
            if of_alice {
                alice.run(&format!("SELECT wf_start('{workflow}', '{input}', id => 'a{id}')"));
                let result = alice.result(&format!("a{id}"));
                assert_eq!(
                    result.as_array().unwrap()[1..],
                    [json!("alice"), json!("alice"), json!("none")],
                    "{sql} in {workflow}"
                );
            }
        }
    }
    // What a role has set for itself is for the processes to come, and makes none of them another role's.
    alice.run("ALTER ROLE CURRENT_USER SET role = 'team'; ALTER ROLE CURRENT_USER SET search_path = 'pg_catalog'");
    eventually(SOON, "alice has a new executor", || {
        db.run("SELECT pg_terminate_backend(pid) FROM wf.workers WHERE kind = 'executor' AND role = 'alice'");
        db.count("wf.workers WHERE kind = 'executor' AND role = 'alice'") == 0
    });
    alice.run("SELECT wf_start('finds', id => 'new')");
    assert_eq!(alice.result("new")["role"], json!("alice/alice"));
    // As any role's, its queries are shown to nobody else.
    db.run("CREATE FUNCTION naps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('secret step', 'SELECT pg_sleep(60)'); END $$");
    alice.run("SELECT wf_start('naps', id => 'secret nap')");
    let pid = db.in_step("secret nap", "secret step");
    assert_eq!(
        mallory.one::<String>(&format!("SELECT query FROM pg_stat_activity WHERE pid = {pid}")),
        "<insufficient privilege>"
    );
    assert_eq!(
        mallory.count(&format!(
            "wf.workers WHERE pid = {pid} AND id IS NULL AND step IS NULL AND workflow IS NULL"
        )),
        1
    );
    alice.run("SELECT wf_cancel('secret nap')");
}

#[test]
fn pinned_code_stays_what_it_was_whoever_owns_it() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run("CREATE SCHEMA mal AUTHORIZATION mallory; GRANT USAGE ON SCHEMA mal TO PUBLIC");
    let (mut alice, mut mallory) = (
        cluster.connect("postgres", "alice"),
        cluster.connect("postgres", "mallory"),
    );
    let flow = |text: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION public.flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
             BEGIN
                 PERFORM wf_wait_signal('one');
                 PERFORM wf_wait_signal('two');
                 RETURN {text};
             END $$"
        )
    };
    mallory.run(&flow("jsonb_build_array('reviewed', current_user)"));
    for id in ["replaced", "altered"] {
        alice.run(&format!("SELECT wf_start('flow', id => '{id}')"));
        alice.waits_for(id, "signal \"one\"");
    }
    mallory.run(&flow("jsonb_build_array('evil', current_user)"));
    for id in ["replaced", "altered"] {
        alice.run(&format!("SELECT wf_signal('{id}', 'one')"));
        alice.waits_for(id, "signal \"two\"");
    }
    alice.run("SELECT wf_signal('replaced', 'two')");
    assert_eq!(alice.result("replaced"), json!(["reviewed", "alice"]));
    // The former version is hers as well, and its names could be given another meaning.
    mallory.run(
        "CREATE FUNCTION mal.wf_wait_signal(name text) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RAISE LOG 'evil runs as %', current_user; RETURN NULL; END $$",
    );
    let copy: String =
        db.one("SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'wf_versions'::regnamespace");
    mallory.run(&format!("ALTER FUNCTION {copy} SET search_path = mal, public"));
    alice.run("SELECT wf_signal('altered', 'two')");
    let failure = alice.failure("altered");
    assert_eq!(failure.sqlstate, "WF005", "{failure:?}");
    assert!(failure.detail.contains("was altered"), "{failure:?}");
    assert_eq!(cluster.logged("evil runs as"), 0);

    // Code that its owner was to run with fewer privileges from now on is not run with the former ones once more.
    db.run(
        "CREATE FUNCTION public.powerful(input jsonb) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN RETURN jsonb_build_array(current_user, wf_wait_signal('go')); END $$",
    );
    alice.run("SELECT wf_start('powerful', id => 'before')");
    alice.waits_for("before", "signal");
    db.run("ALTER FUNCTION public.powerful(jsonb) OWNER TO mallory");
    alice.run("SELECT wf_start('powerful', id => 'after')");
    alice.waits_for("after", "signal");
    db.run(
        "CREATE OR REPLACE FUNCTION public.powerful(input jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb'",
    );
    for id in ["before", "after"] {
        alice.run(&format!("SELECT wf_signal('{id}', 'go')"));
    }
    assert_eq!(alice.result("before")[0], json!("postgres"));
    assert_eq!(alice.result("after")[0], json!("mallory"));
}

#[test]
fn ids_and_tokens_are_only_texts() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run(
        "CREATE FUNCTION asks(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_task('t', 'q', '{\"secret\": 1}'); END $$",
    );
    let (mut alice, mut mallory) = (
        cluster.connect("postgres", "alice"),
        cluster.connect("postgres", "mallory"),
    );
    for id in [
        "'; DROP TABLE seen; --",
        "$1",
        "\u{202e}%s%n\n\"",
        "wf_internal.runs",
        " ",
    ] {
        alice.execute("SELECT wf_start('waits', id => $1)", &[&id]).unwrap();
        alice.execute("SELECT wf_signal($1, $1)", &[&id]).unwrap();
        alice
            .execute("SELECT wf_signal($1, 'go', to_jsonb($1::text))", &[&id])
            .unwrap();
        let row = alice.query_one("SELECT wf_result($1, '20 s')", &[&id]).unwrap();
        assert_eq!(row.get::<_, Value>(0), json!(id));
        let failure = failure_of(&mallory.execute("SELECT wf_status($1)", &[&id]).unwrap_err());
        assert_eq!(failure.sqlstate, "42704");
    }
    assert_eq!(db.count("seen"), 0);
    // A run's own number, as an id of mallory's, is hers alone.
    alice.run("SELECT wf_start('waits', id => 'a')");
    alice.waits_for("a", "signal");
    let run: String = alice.one("SELECT run_id::text FROM wf.workflows WHERE id = 'a'");
    mallory.run(&format!("SELECT wf_start('waits', id => '{run}')"));
    mallory.run(&format!("SELECT wf_signal('{run}', 'go', '\"hers\"')"));
    assert_eq!(mallory.result(&run), json!("hers"));
    assert_eq!(alice.status("a"), "waiting");
    assert_eq!(alice.fails(&format!("SELECT wf_status('{run}')")).sqlstate, "42704");
    // A name that alice's schedule will want is not hers to hold back.
    alice.run("SELECT wf_schedule('tick', 'at 2100-01-01', 'waits')");
    let wanted: String = alice.one("SELECT wf_schedule_run('tick')");
    if mallory
        .attempt(&format!("SELECT wf_start('waits', id => '{wanted}')"))
        .is_ok()
    {
        eventually(SOON, "it has another", || {
            alice.count("wf.workflows WHERE schedule = 'tick'") == 1
        });
    }

    // Tokens: guessed, of an attempt that is over, of another task.
    alice.run("SELECT wf_start('asks', id => 't1'), wf_start('asks', id => 't2')");
    eventually(SOON, "tasks wait", || {
        alice.count("wf.tasks WHERE status = 'waiting'") == 2
    });
    let tokens: Vec<String> = alice.all("SELECT task FROM wf_poll('q', max => 2)");
    let [one, two] = <[String; 2]>::try_from(tokens).unwrap();
    let lease = |token: &str| token.rsplit_once('/').unwrap().1.to_owned();
    let call = one.rsplit_once('/').unwrap().0.to_owned();
    for (session, token, sqlstate) in [
        (&mut mallory, one.clone(), "42501"),
        (&mut alice, format!("{call}/{}", lease(&two)), "WF007"),
    ] {
        for function in ["wf_complete('{}', '1')", "wf_fail('{}', 'x')", "wf_heartbeat('{}')"] {
            let failure = session.fails(&format!("SELECT {}", function.replace("{}", &token)));
            assert_eq!(failure.sqlstate, sqlstate, "{function}: {failure:?}");
        }
    }
    for token in [
        "",
        "x",
        "//",
        &format!("{one}/1"),
        &format!("{call}/'; DROP TABLE seen"),
    ] {
        let failure = failure_of(&alice.execute("SELECT wf_complete($1, '1')", &[&token]).unwrap_err());
        assert!(
            ["22023", "22004"].contains(&failure.sqlstate.as_str()),
            "{token}: {failure:?}"
        );
    }
    alice.run(&format!("SELECT wf_complete('{one}', '1'), wf_complete('{two}', '2')"));
    let results = [alice.result("t1"), alice.result("t2")];
    assert!(
        results.contains(&json!(1)) && results.contains(&json!(2)),
        "{results:?}"
    );
}

#[test]
fn row_security_holds_in_steps_and_triggers() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run(
        "CREATE TABLE accounts (owner name, amount int);
         INSERT INTO accounts VALUES ('alice', 1), ('mallory', 2), ('postgres', 4);
         GRANT SELECT, INSERT, UPDATE ON accounts TO PUBLIC; GRANT TRIGGER ON accounts TO alice;
         ALTER TABLE accounts ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON accounts USING (owner = current_user) WITH CHECK (true);
         CREATE FUNCTION sums(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             RETURN jsonb_build_array(
                 (SELECT sum(amount) FROM accounts),
                 wf_step('read', 'SELECT sum(amount) FROM accounts')->0,
                 wf_step('write', 'UPDATE accounts SET amount = amount'));
         END $$;
         CREATE FUNCTION looks_behind(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('off', 'SET LOCAL row_security = off; SELECT sum(amount) FROM public.accounts'); END $$",
    );
    for (role, sum) in [("alice", 1), ("mallory", 2), ("postgres", 7)] {
        let mut session = cluster.connect("postgres", role);
        session.run(&format!("SELECT wf_start('sums', id => '{role}')"));
        let rows = if role == "postgres" { 3 } else { 1 };
        assert_eq!(session.result(role), json!([sum, sum, rows]), "{role}");
        if role != "postgres" {
            session.run(&format!("SELECT wf_start('looks_behind', id => 'off-{role}')"));
            assert_eq!(session.failure(&format!("off-{role}")).sqlstate, "42501");
        }
    }
    // A row that mallory inserts starts a workflow of alice's, which sees alice's rows.
    let (mut alice, mut mallory) = (
        cluster.connect("postgres", "alice"),
        cluster.connect("postgres", "mallory"),
    );
    alice.run("SELECT wf_on('accounts', 'insert', 'sums', id => '''of '' || new.owner')");
    mallory.run("INSERT INTO accounts VALUES ('mallory', 8)");
    assert_eq!(alice.result("of mallory"), json!([1, 1, 1]));
    assert_eq!(mallory.count("wf.workflows WHERE id = 'of mallory'"), 0);
}

#[test]
fn roles_are_renamed_locked_out_and_dropped_with_instances_in_flight() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run(
        "CREATE ROLE rita LOGIN CONNECTION LIMIT 1; CREATE ROLE colin LOGIN; CREATE ROLE dora LOGIN; CREATE ROLE lena LOGIN;
         CREATE FUNCTION who(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN PERFORM wf_wait_signal('go'); RETURN wf_step('who', 'SELECT current_user || ''/'' || session_user AS who')->0; END $$;
         GRANT CONNECT ON DATABASE postgres TO alice, mallory, rita, dora, lena",
    );
    for role in ["rita", "colin", "dora", "lena"] {
        let mut session = cluster.connect("postgres", role);
        session.run(&format!("SELECT wf_start('who', id => '{role}')"));
        session.waits_for(role, "signal");
    }
    db.run(
        "ALTER ROLE rita RENAME TO rosa; REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; ALTER ROLE lena NOLOGIN;
         SELECT pg_terminate_backend(pid) FROM wf.workers WHERE kind = 'executor'",
    );
    eventually(SOON, "their executors have ended", || {
        db.count("wf.workers WHERE kind = 'executor'") == 0
    });
    for role in ["rita", "colin", "lena"] {
        db.run(&format!("SELECT wf_signal('{role}', 'go')"));
    }
    // A name is only a name; and a limit of sessions is one of sessions.
    let rosa = cluster.connect("postgres", "rosa");
    assert_eq!(db.result("rita"), json!("rosa/rosa"));
    drop(rosa);
    // Who may not connect does not run, and is in nobody's way.
    let mut alice = cluster.connect("postgres", "alice");
    alice.run("SELECT wf_start('who', id => 'alice'); SELECT wf_signal('alice', 'go')");
    assert_eq!(alice.result("alice"), json!("alice/alice"));
    eventually(SOON, "both were tried", || {
        cluster.logged("role \"lena\" is not permitted to log in") > 0
            && cluster.logged("permission denied for database \"postgres\"") > 0
    });
    for role in ["colin", "lena"] {
        assert_eq!(db.count(&format!("wf.steps WHERE id = '{role}' AND name = 'who'")), 0);
    }
    db.run("GRANT CONNECT ON DATABASE postgres TO colin; ALTER ROLE lena LOGIN");
    // A new scheduler does not wait as long as the old one would by now.
    db.run("SELECT pg_terminate_backend(pid) FROM wf.workers WHERE kind = 'scheduler'");
    for role in ["colin", "lena"] {
        assert_eq!(db.result(role), json!(format!("{role}/{role}")));
    }

    // Dropped: what is left is nobody's, whoever comes next; an operator ends it.
    db.run("SELECT wf_signal('dora', 'go')");
    db.run("BEGIN; SELECT wf_start('who', id => 'held') FROM (SELECT set_config('role', 'dora', true)) AS s; RESET ROLE; COMMIT");
    db.result("dora");
    db.waits_for("held", "signal");
    db.run("SELECT pg_terminate_backend(pid) FROM wf.workers WHERE role = 'dora'");
    eventually(SOON, "she has no process", || {
        db.count("wf.workers WHERE role = 'dora'") == 0
    });
    db.run("REVOKE CONNECT ON DATABASE postgres FROM dora; DROP ROLE dora; CREATE ROLE dora LOGIN; GRANT CONNECT ON DATABASE postgres TO dora; SELECT wf_signal('held', 'go')");
    let mut dora = cluster.connect("postgres", "dora");
    assert_eq!(dora.count("wf.workflows"), 0);
    assert_eq!(dora.fails("SELECT wf_status('held')").sqlstate, "42704");
    assert_eq!(db.count("wf_health() WHERE item = 'work' AND NOT ok"), 1);
    assert_eq!(db.count("wf.steps WHERE id = 'held' AND name = 'who'"), 0);
    assert!(db.one::<bool>("SELECT wf_cancel('held', 'nobody''s')"));
    let failure = db.failure("held");
    assert_eq!(
        (failure.sqlstate.as_str(), failure.message.as_str()),
        ("42704", "owner of workflow instance \"held\" was dropped")
    );
    assert!(!db.one::<bool>("SELECT wf_cancel('held')"));
    assert_eq!(db.count("wf_internal.ready") + db.count("wf_internal.timers"), 0);
    db.run("SELECT wf_purge('0')");
    assert_eq!(db.count("wf.workflows"), 0);
    // Roles without a process are not started for: no error of a role that is not there.
    assert_eq!(cluster.logged("role with OID"), 0);
}

#[test]
fn a_privilege_that_is_taken_away_is_gone_with_the_next_step() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run(
        "CREATE TABLE ledger (n int); GRANT INSERT ON ledger TO alice;
         CREATE FUNCTION book(n int) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO public.ledger VALUES (n)';
         REVOKE ALL ON FUNCTION book(int) FROM PUBLIC; GRANT EXECUTE ON FUNCTION book(int) TO alice;
         CREATE FUNCTION books(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_step('first', input->>'target', '{\"n\": 1}');
             PERFORM wf_wait_signal('go');
             RETURN wf_step('second', input->>'target', '{\"n\": 2}');
         END $$;
         CREATE ROLE carol LOGIN; GRANT alice TO carol",
    );
    let (mut alice, mut carol) = (
        cluster.connect("postgres", "alice"),
        cluster.connect("postgres", "carol"),
    );
    for (id, target) in [
        ("table", "INSERT INTO ledger VALUES (($1->>''n'')::int)"),
        ("function", "book"),
    ] {
        alice.run(&format!(
            "SELECT wf_start('books', jsonb_build_object('target', '{target}'), id => '{id}')"
        ));
        alice.waits_for(id, "signal");
    }
    db.run("REVOKE INSERT ON ledger FROM alice; REVOKE ALL ON FUNCTION book(int) FROM alice");
    for id in ["table", "function"] {
        carol.run(&format!("SELECT wf_signal('{id}', 'go')"));
        let failure = alice.failure(id);
        assert_eq!(failure.sqlstate, "42501", "{id}: {failure:?}");
    }
    assert_eq!(db.count("ledger"), 2);
    // A membership, in a session that has used it.
    assert_eq!(carol.count("wf.workflows"), 2);
    db.run("REVOKE alice FROM carol");
    assert_eq!(carol.count("wf.workflows"), 0);
    assert_eq!(carol.fails("SELECT wf_retry('table')").sqlstate, "42704");
}

#[test]
fn no_view_shows_rows_of_others_to_a_function_or_an_error() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run(
        "CREATE FUNCTION full_of(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         DECLARE h int;
         BEGIN
             PERFORM wf_set('secret', '\"secret\"');
             PERFORM wf_emit('secret', '\"secret\"');
             h := wf_begin('secret', 'SELECT 1');
             PERFORM wf_await(h);
             PERFORM (SELECT count(*) FROM public.seen);
             RETURN wf_task('secret', 'secret', '\"secret\"');
         END $$;
         CREATE TABLE secret (n int); GRANT TRIGGER ON secret TO alice",
    );
    let (mut alice, mut mallory) = (
        cluster.connect("postgres", "alice"),
        cluster.connect("postgres", "mallory"),
    );
    alice.run(
        "SELECT wf_start('full_of', '\"secret\"', id => 'secret'), wf_start('waits', '\"secret\"', id => 'secret-2');
         SELECT wf_schedule('secret', '@daily', 'waits'), wf_on('secret', 'insert', 'waits')",
    );
    alice.waits_for("secret-2", "signal");
    alice.run("SELECT wf_signal('secret-2', 'secret', '\"secret\"'), wf_pause('secret-2', reason => 'secret')");
    eventually(SOON, "everything is there", || alice.count("wf.tasks") == 1);
    mallory.run(
        "CREATE FUNCTION tell(t text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS $$
         BEGIN IF t LIKE '%secret%' THEN RAISE 'saw %', t; END IF; RETURN true; END $$",
    );
    let views: Vec<String> = db
        .all("SELECT relname::text FROM pg_class WHERE relnamespace = 'wf'::regnamespace AND relkind = 'v' ORDER BY 1");
    // The source of functions is for all to see, as in pg_proc.
    let private = views.iter().filter(|view| *view != "definitions");
    let mut told = 0;
    for view in private {
        mallory.run(&format!("SELECT count(*) FROM wf.{view} v WHERE public.tell(v::text)"));
        for query in [
            "count(*) FROM wf.{} v WHERE v::text::int = 0",
            "v::text::int FROM wf.{} v",
        ] {
            // Of rows that are hers to see it may be an error.
            let error = mallory.attempt(&format!("SELECT {}", query.replace("{}", view)));
            assert!(
                !error.is_err_and(|failure| failure.message.contains("secret")),
                "{view}"
            );
        }
        // Alice does see them: the test is not of empty views.
        told += i32::from(
            alice
                .attempt(&format!("SELECT count(*) FROM wf.{view} v WHERE public.tell(v::text)"))
                .is_err(),
        );
    }
    assert!(told >= 11, "only {told} of {views:?}");
}

#[test]
fn one_role_does_not_keep_another_from_its_turn() {
    let cluster = Cluster::with(&["max_worker_processes = 7", "pg_workflow.max_executors = 3"]);
    let mut db = cluster.admin();
    db.run(ROLES);
    db.run(
        "CREATE FUNCTION naps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('nap', 'SELECT pg_sleep(120)'); END $$;
         CREATE FUNCTION quick(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(1) $$",
    );
    let (mut alice, mut mallory) = (
        cluster.connect("postgres", "alice"),
        cluster.connect("postgres", "mallory"),
    );
    mallory.run("SELECT wf_start('naps') FROM generate_series(1, 20)");
    eventually(SOON, "mallory has all that she gets", || {
        db.count("wf.workers WHERE role = 'mallory' AND step = 'nap'") == 3
    });
    for i in 0..3 {
        alice.run(&format!("SELECT wf_start('quick', id => 'q{i}')"));
        assert_eq!(alice.result(&format!("q{i}")), json!(1));
    }
    throughout(Duration::from_millis(500), "she gets no more", || {
        db.count("wf.workers WHERE role = 'mallory'") == 3
    });
    mallory.run("SELECT wf_cancel(id) FROM wf.workflows WHERE finished_at IS NULL");
}
