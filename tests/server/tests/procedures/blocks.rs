//! Blocks with an EXCEPTION clause: failed steps are caught, and the unwinding is not.

use super::*;

#[test]
fn a_failed_step_is_caught_and_made_good() {
    let (cluster, mut db) = effects(&[]);
    db.run(BAD);
    procedure(
        &mut db,
        "saga",
        "caught text[] := '{}'; code text; said text; detail text; hint text;",
        &format!(
            "FOR i IN 1..30 LOOP {before} END LOOP;
             BEGIN
                 {reserve}
                 BEGIN
                     CALL wf_step('charge', 'bad', '{{\"what\": \"charged\"}}', r);
                     caught := caught || 'not reached'::text;
                 EXCEPTION WHEN division_by_zero THEN caught := caught || 'wrong handler'::text;
                 END;
             EXCEPTION WHEN SQLSTATE 'P0042' THEN
                 GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, said = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                     hint = PG_EXCEPTION_HINT;
                 caught := caught || ARRAY[code, said, detail, hint];
                 {release}
                 PERFORM wf_sleep('10 ms');
                 {tell}
             END;
             FOR i IN 1..30 LOOP {after} END LOOP;
             IF input ? 'raise' THEN
                 CALL wf_step('last', 'bad', '{{\"what\": \"last\"}}', r, retry => '{{\"max_attempts\": 2, \"first_delay\": \"1 ms\"}}');
             END IF;
             result := to_jsonb(caught);",
            before = step("before", "'before ' || i"),
            reserve = step("reserve", "'reserved'"),
            release = step("release", "'released'"),
            tell = step("tell", "'told'"),
            after = step("after", "'after ' || i"),
        ),
    );
    let expected = |n: i32| -> Vec<String> {
        let before = (1..=30).map(|i| format!("before {i}"));
        let middle = ["reserved", "released", "told"].map(str::to_owned);
        let after = (1..=n).map(|i| format!("after {i}"));
        before.chain(middle).chain(after).collect()
    };
    start(&mut db, "saga", "s", &json!({}));
    assert_eq!(db.result("s"), json!(["P0042", "bad charged", "d", "h"]));
    assert_eq!(log(&mut db), expected(30));
    let entries = history(&mut db, "s");
    assert_eq!(entries.len(), 65);
    assert_eq!(
        entries[30..35],
        [
            "reserve completed",
            "charge failed P0042",
            "release completed",
            "sleep completed",
            "tell completed"
        ]
    );
    // Not caught, it ends the run with its own code, and all that was done stays.
    db.run("TRUNCATE effects");
    start(&mut db, "saga", "f", &json!({"raise": true}));
    let failure = db.failure("f");
    assert_eq!(
        failure,
        Failure {
            sqlstate: "P0042".into(),
            message: "bad last".into(),
            detail: "d".into(),
            hint: "h".into()
        }
    );
    assert_eq!(log(&mut db), expected(30));
    assert_eq!(history(&mut db, "f").last().unwrap(), "last failed P0042");
    assert_eq!(
        db.one::<i32>("SELECT attempt FROM wf.steps WHERE id = 'f' AND name = 'last'"),
        2
    );
    assert!(calls(&cluster, "saga") <= 40, "{} calls", calls(&cluster, "saga"));
}

#[test]
fn a_block_that_is_rolled_back_takes_no_step_along() {
    let (_cluster, mut db) = effects(&[]);
    // The workflow's own errors, in and behind blocks, while steps in place are not yet committed.
    procedure(
        &mut db,
        "own_errors",
        "kept int := 0; fails bool;",
        &format!(
            "FOR i IN 1..20 LOOP
                 {outside}
                 fails := i % 3 = 0;
                 BEGIN
                     {inside}
                     kept := kept + 1;
                     IF fails THEN RAISE 'own error' USING ERRCODE = 'P0042'; END IF;
                     {rest}
                 EXCEPTION WHEN SQLSTATE 'P0042' THEN
                     {handled}
                 END;
             END LOOP;
             result := to_jsonb(kept);",
            outside = step("outside", "i || ' outside'"),
            inside = step("inside", "i || ' inside'"),
            rest = step("rest", "i || ' rest'"),
            handled = step("handled", "i || ' handled'"),
        ),
    );
    start(&mut db, "own_errors", "o", &json!({}));
    // As in any block: variables keep their values.
    assert_eq!(db.result("o"), json!(20));
    let expected: Vec<String> = (1..=20)
        .flat_map(|i| {
            let last = if i % 3 == 0 { "handled" } else { "rest" };
            ["outside", "inside", last].map(|what| format!("{i} {what}"))
        })
        .collect();
    assert_eq!(log(&mut db), expected);
    assert_eq!(db.count("wf.steps WHERE id = 'o' AND status = 'completed'"), 60);
    assert_eq!(db.count("wf.steps WHERE id = 'o'"), 60);

    // An error of the procedure's own behind many steps fails the run, and does none of them twice.
    db.run("TRUNCATE effects RESTART IDENTITY");
    procedure(
        &mut db,
        "breaks",
        "",
        &format!(
            "FOR i IN 1..(input->>'n')::int LOOP {} END LOOP;
             PERFORM wf_set('progress', '1');
             result := to_jsonb(1 / (input->>'zero')::int);",
            step("link", "i::text")
        ),
    );
    let mut total = 0;
    for n in [0, 1, 10, 500] {
        let id = format!("b-{n}");
        start(&mut db, "breaks", &id, &json!({"n": n, "zero": 0}));
        assert_eq!(db.failure(&id).sqlstate, "22012");
        total += n;
        assert_eq!(db.count("effects"), total);
        assert_eq!(db.count(&format!("wf.steps WHERE id = '{id}' AND kind = 'step'")), n);
        assert_eq!(db.one::<Value>(&format!("SELECT wf_get('{id}', 'progress')")), json!(1));
    }
    assert!(attempts(&mut db) <= total + 4 * 60, "{} attempts", attempts(&mut db));
    queues_are_empty(&mut db);
}

#[test]
fn a_swallowed_unwinding_gives_no_call_another_one_s_answer() {
    let (_cluster, mut db) = effects(&[]);
    procedure(
        &mut db,
        "swallows",
        "a jsonb; b jsonb;",
        "BEGIN
             CALL wf_step('a', 'effect', '{\"what\": \"a\"}', a);
         EXCEPTION WHEN query_canceled THEN a := '\"swallowed\"';
         END;
         CALL wf_step('b', 'effect', '{\"what\": \"b\"}', b);
         result := jsonb_build_array(a, b);",
    );
    start(&mut db, "swallows", "s", &json!({}));
    assert_eq!(db.result("s"), json!(["a", "b"]));
    assert_eq!(log(&mut db), ["a", "b"]);
    assert_eq!(history(&mut db, "s"), ["a completed", "b completed"]);
    procedure(
        &mut db,
        "swallows_signal",
        "a jsonb; b jsonb;",
        "BEGIN
             CALL wf_step('a', 'effect', '{\"what\": \"a\"}', a);
         EXCEPTION WHEN query_canceled THEN a := '\"swallowed\"';
         END;
         CALL wf_wait_signal('b', NULL, b);
         result := jsonb_build_array(a, b);",
    );
    db.run("BEGIN; SELECT wf_start('swallows_signal', id => 't'); SELECT wf_signal('t', 'b', '\"b\"'); COMMIT");
    assert_eq!(db.result("t"), json!(["a", "b"]));
}

#[test]
fn the_unwinding_is_not_swallowed() {
    let (cluster, mut db) = effects(&[]);
    procedure(
        &mut db,
        "swallows",
        "",
        &format!(
            "{}
             BEGIN
                 {}
                 PERFORM wf_sleep('10 ms');
             EXCEPTION WHEN query_canceled THEN r := '\"swallowed\"';
             END;
             {}
             BEGIN PERFORM wf_wait_signal('go', timeout => '10 ms'); EXCEPTION WHEN OTHERS OR query_canceled THEN r := '\"swallowed\"'; END;
             result := r;",
            step("first", "'first'"),
            step("second", "'second'"),
            step("third", "'third'")
        ),
    );
    start(&mut db, "swallows", "s", &json!({}));
    assert_eq!(db.result("s"), json!("third"));
    assert_eq!(log(&mut db), ["first", "second", "third"]);
    // A language whose every call is a subtransaction of its own.
    if cluster.lacks("plpython3u") {
        return;
    }
    db.run(
        "CREATE EXTENSION plpython3u; TRUNCATE effects;
         CREATE PROCEDURE snake(input jsonb, INOUT result jsonb) LANGUAGE plpython3u AS $$
import json
caught = []
for i in range(20):
    plpy.execute(\"CALL wf_step('link', 'effect', jsonb_build_object('what', 'snake %d'), NULL::jsonb)\" % i)
try:
    plpy.execute(\"CALL wf_step('bad', 'SELECT 1 / 0', '{}', NULL::jsonb)\")
except plpy.SPIError as error:
    caught.append(error.sqlstate)
plpy.execute(\"SELECT wf_sleep('10 ms')\")
r = plpy.execute(\"CALL wf_step('last', 'effect', jsonb_build_object('what', 'snake'), NULL::jsonb)\")
return (json.dumps([caught, json.loads(r[0]['result'])]),)
$$;
         CREATE PROCEDURE commits(input jsonb, INOUT result jsonb) LANGUAGE plpython3u AS $$
plpy.execute(\"CALL wf_step('link', 'effect', jsonb_build_object('what', 'before the commit'), NULL::jsonb)\")
try:
    plpy.commit()
except Exception:
    pass
plpy.execute(\"INSERT INTO effects (what) VALUES ('stray')\")
plpy.execute(\"SELECT wf_step('link', 'effect', jsonb_build_object('what', 'after the commit'))\")
return ('1',)
$$",
    );
    start(&mut db, "snake", "snake", &json!({}));
    assert_eq!(db.result("snake"), json!([["22012"], "snake"]));
    assert_eq!(db.count("effects"), 21);
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT what) FROM effects"), 21);
    db.run("TRUNCATE effects");
    start(&mut db, "commits", "commits", &json!({}));
    assert!(matches!(db.failure("commits").sqlstate.as_str(), "2D000" | "25006"));
    assert_eq!(db.count("effects WHERE what = 'stray'"), 0);
    assert!(db.count("effects WHERE what LIKE 'before%'") == 1);
}
