//! Promise 6 behind commits in the middle: user code runs as the instance's owner.

use super::*;

#[test]
fn triggers_at_a_commit_in_the_middle_are_the_owner_s() {
    let (cluster, mut db) = effects(&[]);
    db.run(
        "CREATE ROLE alice LOGIN; CREATE ROLE team; GRANT team TO alice; GRANT CREATE ON SCHEMA public TO alice;
         GRANT ALL ON effects TO alice, team; GRANT USAGE ON SEQUENCE effects_n_seq TO alice, team;
         CREATE TABLE seen (who text, session text, super text, path text, engine text); GRANT ALL ON seen TO PUBLIC;
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE engine text := 'closed';
         BEGIN
             BEGIN PERFORM 1 FROM wf_internal.runs; engine := 'open'; EXCEPTION WHEN insufficient_privilege THEN NULL; END;
             BEGIN SET LOCAL ROLE postgres; engine := 'open'; EXCEPTION WHEN OTHERS THEN NULL; END;
             BEGIN SET LOCAL SESSION AUTHORIZATION postgres; engine := 'open'; EXCEPTION WHEN OTHERS THEN NULL; END;
             INSERT INTO public.seen VALUES (current_user, session_user, current_setting('is_superuser'), current_setting('search_path'), engine);
             RETURN NULL;
         END $$;
         CREATE CONSTRAINT TRIGGER look AFTER INSERT ON effects DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look()",
    );
    let mut alice = cluster.connect("postgres", "alice");
    chain(&mut alice);
    procedure(
        &mut alice,
        "as_team",
        "",
        &format!(
            "FOR i IN 1..200 LOOP SET ROLE team; {} END LOOP; SET ROLE team; result := '1';",
            step("link", "i::text")
        ),
    );
    start(&mut alice, "chain", "c", &json!({"n": 300}));
    chain_is_whole(&mut alice, "c", 300);
    start(&mut alice, "as_team", "t", &json!({}));
    assert_eq!(alice.result("t"), json!(1));
    assert_eq!(db.count("seen"), 500);
    let seen: Vec<String> = db.all("SELECT DISTINCT concat_ws('|', who, session, super, path, engine) FROM seen");
    assert_eq!(seen, ["alice|alice|off|\"$user\", public|closed"]);
    // Nor is the body ever anyone else, behind however many commits.
    for climb in [
        "PERFORM 1 FROM wf_internal.runs;",
        "PERFORM 1 FROM pg_authid;",
        "SET ROLE postgres;",
        "SET SESSION AUTHORIZATION postgres;",
        "RESET ROLE; PERFORM 1 FROM pg_authid;",
        "RESET SESSION AUTHORIZATION; PERFORM 1 FROM pg_authid;",
        "CALL wf_step('climb', 'RESET ROLE; SELECT 1 FROM pg_authid', '{}', r);",
        "CALL wf_step('climb', 'RESET SESSION AUTHORIZATION; SELECT 1 FROM pg_authid', '{}', r);",
        "CALL wf_step('climb', 'SET ROLE postgres', '{}', r);",
        "CALL wf_step('climb', 'DELETE FROM wf_internal.ready', '{}', r);",
    ] {
        for n in STEPS_BEFORE {
            procedure(
                &mut alice,
                "climbs",
                "",
                &format!(
                    "FOR i IN 1..{n} LOOP
                         {}
                         IF current_user <> 'alice' THEN RAISE 'body runs as %', current_user; END IF;
                     END LOOP;
                     {climb}
                     result := '\"did\"';",
                    step("link", "i::text")
                ),
            );
            let id: String = alice.one("SELECT wf_start('climbs')");
            let failure = alice.failure(&id);
            assert_eq!(failure.sqlstate, "42501", "{climb} after {n}: {failure:?}");
        }
    }
    // Definer's rights are the definer's within the procedure; its steps are the owner's. Such a procedure may not commit,
    // nor one with settings of its own.
    db.run("GRANT SELECT ON seen TO team");
    let who = "CALL wf_step('who', 'SELECT current_user::text || '' '' || current_setting(''work_mem'')', '{}', r);";
    for (number, (clause, body, steps)) in [
        ("SECURITY DEFINER", "postgres 4MB", "alice 4MB"),
        ("SET work_mem = '33MB'", "alice 33MB", "alice 4MB"),
    ]
    .into_iter()
    .enumerate()
    {
        db.run(&format!(
            "CREATE PROCEDURE special_{number}(input jsonb, INOUT result jsonb) LANGUAGE plpgsql {clause} AS $$
             DECLARE r jsonb; outside jsonb := '[]';
             BEGIN
                 FOR i IN 1..30 LOOP {} END LOOP;
                 {who}
                 PERFORM wf_sleep('1 ms');
                 result := jsonb_build_array(current_user || ' ' || current_setting('work_mem'), r->>0);
             END $$",
            step("link", "'s ' || i")
        ));
        let before = db.count("effects");
        let id: String = alice.one(&format!("SELECT wf_start('special_{number}')"));
        assert_eq!(alice.result(&id), json!([body, steps]), "{clause}");
        assert_eq!(db.count("effects") - before, 30);
    }
}

#[test]
fn defaults_of_the_role_do_not_reach_the_engine() {
    let (cluster, mut db) = effects(&[]);
    db.run("CREATE ROLE alice LOGIN; GRANT CREATE ON SCHEMA public TO alice; GRANT ALL ON effects TO alice; GRANT USAGE ON SEQUENCE effects_n_seq TO alice");
    let mut alice = cluster.connect("postgres", "alice");
    procedure(
        &mut alice,
        "chain_of_role",
        CHAIN.0,
        &format!(
            "{}
             CALL wf_step('see', 'SELECT current_setting(''transaction_isolation'') || '' '' || current_setting(''transaction_read_only'')', '{{}}', r);
             PERFORM wf_sleep('10 ms');
             IF r->>0 <> 'read committed off' THEN RAISE 'step: %', r; END IF;
             IF current_setting('transaction_isolation') <> 'read committed' THEN RAISE 'body: %', current_setting('transaction_isolation'); END IF;
             IF current_setting('transaction_read_only') <> 'on' THEN RAISE 'the body may write'; END IF;",
            CHAIN.1
        ),
    );
    for (number, setting) in [
        "default_transaction_read_only = on",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_isolation = 'repeatable read'",
        "default_transaction_deferrable = on",
        "search_path = 'pg_catalog'",
        "statement_timeout = '1ms'",
        "synchronous_commit = off",
    ]
    .into_iter()
    .enumerate()
    {
        db.run(&format!("TRUNCATE effects; ALTER ROLE alice SET {setting}"));
        // A new process: it is connected with what the role has now.
        db.run("SELECT pg_terminate_backend(pid) FROM wf.workers WHERE kind = 'executor'");
        eventually(SOON, "no executor", || {
            db.count("wf.workers WHERE kind = 'executor'") == 0
        });
        let id = format!("c-{number}");
        alice.run(&format!(
            "SELECT wf_start('chain_of_role', '{{\"n\": 300}}', id => '{id}')"
        ));
        assert_eq!(alice.result(&id), json!(45_150), "{setting}");
        assert_eq!(db.count("effects"), 300, "{setting}");
        let name = setting.split(' ').next().unwrap();
        db.run(&format!("ALTER ROLE alice RESET {name}"));
    }
}
