//! What a procedure may not do, and what it does not leave behind.

use super::*;

#[test]
fn it_cannot_end_its_transaction() {
    let (_cluster, mut db) = effects(&[]);
    db.run("CREATE PROCEDURE ends(how text) LANGUAGE plpgsql AS $$ BEGIN IF how = 'c' THEN COMMIT; ELSE ROLLBACK; END IF; END $$");
    let stray = "INSERT INTO effects (what) VALUES ('stray');";
    for (number, statements) in [
        "COMMIT;".to_owned(),
        "COMMIT AND CHAIN;".to_owned(),
        "ROLLBACK;".to_owned(),
        "ROLLBACK AND CHAIN;".to_owned(),
        "CALL ends('c');".to_owned(),
        "CALL ends('r');".to_owned(),
        format!("COMMIT; {stray}"),
        format!("ROLLBACK; {stray}"),
        format!("ROLLBACK; {stray} COMMIT;"),
        format!("ROLLBACK; {stray} ROLLBACK;"),
        format!("ROLLBACK; {stray} RETURN;"),
        format!("ROLLBACK; {stray} PERFORM 1/0;"),
        format!("ROLLBACK; {stray} PERFORM wf_set('a', '1');"),
        format!("ROLLBACK; {stray} PERFORM wf_sleep('10 ms');"),
        format!("ROLLBACK; {stray} PERFORM wf_step('form', 'SELECT 1');"),
        format!("ROLLBACK; {stray} BEGIN CALL wf_step('block', 'SELECT 1', '{{}}', r); EXCEPTION WHEN OTHERS THEN NULL; END;"),
        "BEGIN CALL ends('c'); EXCEPTION WHEN OTHERS THEN RAISE; END;".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("ends_{number}");
        procedure(
            &mut db,
            &name,
            "",
            &format!(
                "FOR i IN 1..(input->>'n')::int LOOP {} END LOOP; {statements} {} result := r;",
                step("before", "'before ' || i"),
                step("after", "'after'")
            ),
        );
        for n in STEPS_BEFORE {
            db.run("TRUNCATE effects");
            let id = format!("{name}-{n}");
            start(&mut db, &name, &id, &json!({"n": n}));
            let failure = db.failure(&id);
            let own_error = statements.contains("1/0") && failure.sqlstate == "22012";
            assert!(own_error || failure.sqlstate == "2D000", "{statements} {n}: {failure:?}");
            if failure.message == "a workflow cannot end its transaction" {
                assert!(failure.hint.contains("committed for you"), "{failure:?}");
            }
            assert_eq!(db.count("effects"), n, "{statements} after {n}");
            assert_eq!(db.count("effects WHERE what LIKE 'before%'"), n, "{statements} after {n}");
            assert_eq!(db.count(&format!("wf.steps WHERE id = '{id}' AND name = 'before'")), n);
        }
    }
    // The process is as good as before.
    db.run("TRUNCATE effects");
    chain(&mut db);
    start(&mut db, "chain", "after", &json!({"n": 500}));
    chain_is_whole(&mut db, "after", 500);
    queues_are_empty(&mut db);
}

#[test]
fn it_writes_in_its_steps_only() {
    let (_cluster, mut db) = effects(&[]);
    db.run("CREATE ROLE other; CREATE SEQUENCE s");
    for (number, (statement, sqlstate)) in [
        ("INSERT INTO effects (what) VALUES ('stray');", "25006"),
        ("UPDATE effects SET what = 'stray';", "25006"),
        ("DELETE FROM effects;", "25006"),
        ("PERFORM effect('stray');", "25006"),
        ("CALL writes();", "25006"),
        ("PERFORM nextval('s');", "25006"),
        ("PERFORM 1 FROM effects FOR UPDATE;", "25006"),
        ("FOR item IN UPDATE effects SET what = 'stray' RETURNING what LOOP NULL; END LOOP;", "25006"),
        ("CREATE TABLE stray ();", "25006"),
        ("CREATE TEMP TABLE stray ();", "25006"),
        ("DROP TABLE effects;", "25006"),
        ("ALTER ROLE other SUPERUSER;", "25006"),
        ("SET TRANSACTION READ WRITE;", "25001"),
        ("SET transaction_read_only = off;", "25001"),
        ("PERFORM set_config('transaction_read_only', 'off', true);", "25001"),
        ("BEGIN SET TRANSACTION READ WRITE; EXCEPTION WHEN OTHERS THEN NULL; END; INSERT INTO effects (what) VALUES ('stray');", "25006"),
        ("SET default_transaction_read_only = off; INSERT INTO effects (what) VALUES ('stray');", "25006"),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;", "25001"),
        ("PERFORM wf_start('chain');", "55000"),
        ("PERFORM wf_signal('x', 'y');", "55000"),
        ("CALL wf_run_pending();", "55000"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("writes_{number}");
        db.run("CREATE OR REPLACE PROCEDURE writes() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO effects (what) VALUES ('stray'); END $$");
        procedure(
            &mut db,
            &name,
            "item record;",
            &format!(
                "FOR i IN 1..(input->>'n')::int LOOP {} END LOOP; {statement} {}",
                step("before", "'before ' || i"),
                step("after", "'after'")
            ),
        );
        for n in STEPS_BEFORE {
            db.run("TRUNCATE effects");
            let id = format!("{name}-{n}");
            start(&mut db, &name, &id, &json!({"n": n}));
            let failure = db.failure(&id);
            assert_eq!(failure.sqlstate, sqlstate, "{statement} after {n}: {failure:?}");
            if sqlstate == "25006" {
                assert!(failure.hint.contains("in its steps only"), "{statement} after {n}: {failure:?}");
            }
            assert_eq!(db.count("effects WHERE what LIKE 'before%'"), n, "{statement} after {n}");
            assert_eq!(db.count("effects"), n, "{statement} after {n}");
        }
    }
    assert_eq!(db.count("pg_class WHERE relname = 'stray'"), 0);
    assert!(!db.one::<bool>("SELECT is_called FROM s"));
    assert!(!db.one::<bool>("SELECT rolsuper FROM pg_roles WHERE rolname = 'other'"));
}

#[test]
fn it_leaves_nothing_in_its_process() {
    let (cluster, mut db) = effects(&["pg_workflow.max_executors = 1"]);
    db.run("CREATE ROLE other; CREATE TABLE seen (id text, path text, work_mem text, role text, own text); GRANT ALL ON seen, effects TO other; GRANT USAGE ON SEQUENCE effects_n_seq TO other");
    let see = "CALL wf_step('see', 'INSERT INTO public.seen SELECT $1->>''id'', current_setting(''search_path''), current_setting(''work_mem''),
                   current_user, current_setting(''my.own'', true)', input, r);";
    let many = format!("FOR i IN 1..100 LOOP {} END LOOP;", step("link", "'link'"));
    for (name, sets) in [
        (
            "in_body",
            "SET work_mem = '77MB'; PERFORM set_config('my.own', 'leak', false); SET SESSION statement_timeout = '1ms'; SET lock_timeout = '1ms';",
        ),
        ("role_in_body", "SET ROLE other;"),
        ("session_in_body", "SET SESSION AUTHORIZATION other;"),
        (
            "local_in_body",
            "SET LOCAL ROLE other; SET LOCAL work_mem = '77MB'; SET LOCAL enable_seqscan = off;",
        ),
        (
            "in_step",
            "CALL wf_step('set', 'SET work_mem = ''77MB''; SET ROLE other; SET my.own = ''leak''; SET SESSION statement_timeout = ''1ms''', '{}', r);",
        ),
        (
            "path_in_step",
            "CALL wf_step('set', 'SET search_path = pg_catalog', '{}', r);",
        ),
        (
            "locks",
            "PERFORM pg_advisory_lock(7); CALL wf_step('lock', 'SELECT pg_advisory_lock(8)', '{}', r);",
        ),
    ] {
        for order in ["one", "many"] {
            let workflow = format!("{name}_{order}");
            let steps = if order == "many" { many.as_str() } else { "" };
            procedure(
                &mut db,
                &workflow,
                "",
                &format!(
                    "{steps} {sets} {see} {steps}
                     result := to_jsonb(format('%s %s %s', current_user, session_user, current_setting('search_path')));"
                ),
            );
            start(&mut db, &workflow, &workflow, &json!({"id": workflow}));
            let result = db.result(&workflow);
            if name.contains("step") || (order == "many" && name != "locks") {
                // What a body has SET goes with the next commit; what a step has SET, with the step.
                assert_eq!(result, json!("postgres postgres \"$user\", public"), "{workflow}");
            }
            // And nothing of it meets the next instance.
            procedure(
                &mut db,
                "next",
                "",
                &format!("{see} result := to_jsonb(format('%s %s', current_user, session_user));"),
            );
            let next = format!("next after {workflow}");
            start(&mut db, "next", &next, &json!({"id": next}));
            assert_eq!(db.result(&next), json!("postgres postgres"), "{next}");
            let seen: String = db.one(&format!(
                "SELECT concat_ws('|', path, work_mem, role, nullif(own, '')) FROM seen WHERE id = '{next}'"
            ));
            assert_eq!(seen, "\"$user\", public|4MB|postgres", "{next}");
            let seen: String = db.one(&format!(
                "SELECT concat_ws('|', path, role) FROM seen WHERE id = '{workflow}'"
            ));
            assert_eq!(seen, "\"$user\", public|postgres", "a step is the owner's: {workflow}");
            assert_eq!(db.count("pg_locks WHERE locktype = 'advisory'"), 0, "{next}");
        }
    }
    assert_eq!(db.count("wf.workers WHERE kind = 'executor'"), 1);
    assert_eq!(cluster.logged("terminated by signal"), 0);
}

#[test]
fn what_it_sets_does_not_reach_a_step() {
    let (_cluster, mut db) = effects(&[]);
    // Whether a commit came in between is not the user's to know.
    procedure(
        &mut db,
        "sets",
        "seen text[] := '{}';",
        "SET work_mem = '77MB'; SET datestyle = 'German'; PERFORM set_config('my.own', 'x', false);
         FOR i IN 1..100 LOOP
             CALL wf_step('see', 'SELECT concat_ws(''|'', current_setting(''work_mem''), current_setting(''datestyle''),
                                                   nullif(current_setting(''my.own'', true), ''''))', '{}', r);
             IF r->>0 <> ALL (seen) THEN seen := seen || (r->>0); END IF;
         END LOOP;
         result := to_jsonb(seen);",
    );
    for round in 0..3 {
        let id = format!("s-{round}");
        start(&mut db, "sets", &id, &json!({}));
        assert_eq!(db.result(&id), json!(["4MB|ISO, MDY"]));
    }
}

#[test]
fn what_fails_at_a_commit_in_the_middle_fails_its_step() {
    let (cluster, mut db) = effects(&[]);
    db.run(
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE SEQUENCE tries;
         CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
    );
    let child = |retry: &str| {
        format!(
            "CALL wf_step('child', 'SELECT nextval(''tries''); INSERT INTO child VALUES (($1->>''id'')::int)', input, r {retry});"
        )
    };
    let before = format!(
        "FOR i IN 1..(input->>'n')::int LOOP {} END LOOP;",
        step("before", "'before ' || i")
    );
    let after = format!("FOR i IN 1..100 LOOP {} END LOOP;", step("after", "'after ' || i"));
    procedure(
        &mut db,
        "orphan",
        "",
        &format!("{before} {} {after} result := '1';", child("")),
    );
    procedure(
        &mut db,
        "tries_thrice",
        "",
        &format!(
            "{before} {} {after} result := '1';",
            child(", retry => '{\"max_attempts\": 3, \"first_delay\": \"1 ms\", \"retry_on\": [\"23503\"]}'")
        ),
    );
    procedure(
        &mut db,
        "forgives",
        "",
        &format!(
            "{before}
             BEGIN {} EXCEPTION WHEN foreign_key_violation THEN {} END;
             {after} result := '1';",
            child(""),
            step("instead", "'instead'")
        ),
    );
    procedure(
        &mut db,
        "waits_for_it",
        "",
        &format!(
            "{before} {} {after} result := '1';",
            child(
                ", retry => '{\"max_attempts\": 0, \"first_delay\": \"300 ms\", \"backoff\": 1, \"retry_on\": [\"23503\"]}'"
            )
        ),
    );
    // From 16 recorded calls on a procedure is not replayed beside other work.
    for n in [0, 3, 15, 16, 17, 150] {
        let input = json!({"n": n, "id": n});
        for (workflow, attempts) in [("orphan", 1), ("tries_thrice", 3)] {
            db.run("TRUNCATE effects; ALTER SEQUENCE tries RESTART");
            let id = format!("{workflow}-{n}");
            start(&mut db, workflow, &id, &input);
            let failure = db.failure(&id);
            assert_eq!(failure.sqlstate, "23503", "{id}: {failure:?}");
            assert_eq!(db.count("effects"), n, "{id}");
            assert_eq!(db.count("child"), 0, "{id}");
            assert_eq!(history(&mut db, &id).last().unwrap(), "child failed 23503");
            assert_eq!(
                db.one::<i32>(&format!(
                    "SELECT attempt FROM wf.steps WHERE id = '{id}' AND name = 'child'"
                )),
                attempts,
                "{id}"
            );
            assert!(
                db.one::<i64>("SELECT last_value FROM tries") <= 4 * i64::from(attempts),
                "{id}"
            );
        }
        db.run("TRUNCATE effects");
        let id = format!("forgives-{n}");
        start(&mut db, "forgives", &id, &input);
        assert_eq!(db.result(&id), json!(1));
        assert_eq!(db.count("effects"), n + 101, "{id}");
        assert_eq!(
            db.one::<i64>("SELECT count(DISTINCT what) FROM effects"),
            n + 101,
            "{id}"
        );
        assert_eq!(db.count("child"), 0, "{id}");

        db.run("TRUNCATE effects");
        let id = format!("waits-{n}");
        start(&mut db, "waits_for_it", &id, &input);
        db.waits_for(&id, "retry");
        db.run(&format!("INSERT INTO parent VALUES ({n})"));
        assert_eq!(db.result(&id), json!(1));
        assert_eq!(db.count("effects"), n + 100, "{id}");
        assert_eq!(db.count("child"), 1, "{id}");
        db.run("TRUNCATE parent, child");
    }
    queues_are_empty(&mut db);
    assert!(
        cluster.logged("ERROR:  insert or update on table \"child\"")
            + cluster.logged("LOG:  insert or update on table \"child\"")
            < 500,
        "it does not run in circles"
    );
}
