//! What a procedure is good for: long chains of steps, of every form, at the same cost each.

use super::*;

#[test]
fn a_step_costs_the_same_however_many_came_before() {
    let (cluster, mut db) = effects(&[]);
    chain(&mut db);
    for (id, n) in [("short", 20), ("long", 2000)] {
        db.run("TRUNCATE effects RESTART IDENTITY");
        let before = calls(&cluster, "chain");
        start(&mut db, "chain", id, &json!({"n": n}));
        chain_is_whole(&mut db, id, n);
        // A call for each step would be thousands. A hiccup of the machine may take one for slow, and cost a call.
        let called = calls(&cluster, "chain") - before;
        assert!(called <= 5, "{called} calls for {n} steps");
        assert!(attempts(&mut db) <= n + 5 * 60, "{} attempts", attempts(&mut db));
    }
    queues_are_empty(&mut db);
    // In the way of functions it is the same history.
    db.run("TRUNCATE effects RESTART IDENTITY");
    procedure(
        &mut db,
        "in_a_block",
        CHAIN.0,
        &format!("BEGIN {} EXCEPTION WHEN division_by_zero THEN NULL; END;", CHAIN.1),
    );
    start(&mut db, "in_a_block", "block", &json!({"n": 200}));
    chain_is_whole(&mut db, "block", 200);
}

#[test]
fn calls_of_every_kind_make_one_history() {
    let (cluster, mut db) = effects(&[]);
    db.run(
        "CREATE TABLE items (k int); INSERT INTO items SELECT generate_series(1, 150);
         CREATE PROCEDURE inner_steps(depth int, INOUT seen int) LANGUAGE plpgsql AS $$
         DECLARE r jsonb;
         BEGIN
             FOR i IN 1..40 LOOP
                 CALL wf_step('inner', 'effect', jsonb_build_object('what', 'inner ' || depth || ' ' || i), r);
                 seen := seen + 1;
             END LOOP;
             IF depth > 1 THEN CALL inner_steps(depth - 1, seen); END IF;
         END $$;
         CREATE FUNCTION in_function() RETURNS jsonb LANGUAGE plpgsql AS $$
         DECLARE r jsonb;
         BEGIN
             CALL wf_step('in function', 'effect', '{\"what\": \"called in a function\"}', r);
             RETURN r;
         END $$",
    );
    procedure(
        &mut db,
        "kinds",
        "item record; seen int := 0; t timestamptz; u uuid; x float8; a jsonb;",
        &format!(
            "t := wf_now();
             PERFORM wf_set('progress', '0');
             FOR item IN SELECT k FROM items ORDER BY k LOOP
                 {}
                 IF item.k % 50 = 0 THEN PERFORM wf_set('progress', to_jsonb(item.k)); END IF;
             END LOOP;
             u := wf_uuid();
             CALL inner_steps(3, seen);
             x := wf_random();
             PERFORM wf_step('performed', 'effect', '{{\"what\": \"performed\"}}');
             a := wf_step('assigned', 'effect', '{{\"what\": \"assigned\"}}');
             SELECT wf_step('selected', 'effect', '{{\"what\": \"selected\"}}') INTO a;
             EXECUTE 'CALL wf_step(''executed'', ''effect'', ''{{\"what\": \"executed\"}}'', NULL::jsonb)' INTO a;
             a := in_function();
             FOR item IN SELECT k FROM items WHERE k <= 3 ORDER BY k LOOP
                 PERFORM wf_sleep('5 ms');
                 {}
             END LOOP;
             CALL wf_step(name => 'named', target => 'SELECT $1->''v''', input => '{{\"v\": [1]}}', result => r,
                          timeout => '1 min', retry => '{{\"max_attempts\": 2}}');
             result := jsonb_build_object('seen', seen, 'a', a, 'r', r, 't', t, 'u', u, 'x', x);",
            step("item", "'item ' || item.k"),
            step("after a nap", "'nap ' || item.k"),
        ),
    );
    start(&mut db, "kinds", "k", &json!({}));
    let result = db.result("k");
    assert_eq!(
        (&result["seen"], &result["a"], &result["r"]),
        (&json!(120), &json!("called in a function"), &json!([[1]]))
    );
    let mut expected: Vec<String> = (1..=150).map(|k| format!("item {k}")).collect();
    for depth in [3, 2, 1] {
        expected.extend((1..=40).map(|i| format!("inner {depth} {i}")));
    }
    expected.extend(
        [
            "performed",
            "assigned",
            "selected",
            "executed",
            "called in a function",
            "nap 1",
            "nap 2",
            "nap 3",
        ]
        .map(str::to_owned),
    );
    assert_eq!(log(&mut db), expected);
    // Values are those on record, to the last digit, and everything is on record in the order of the calls.
    let same: bool = db.one(
        "SELECT (SELECT jsonb_agg(s.result ORDER BY s.n) = jsonb_build_array(r->'t', r->'u') FROM wf.steps s
                 WHERE id = 'k' AND kind = 'value' AND name <> 'wf_random')
            AND (SELECT s.result::float8 = (r->>'x')::float8 FROM wf.steps s WHERE id = 'k' AND name = 'wf_random')
         FROM wf_result('k') AS r",
    );
    assert!(same, "{result}");
    let numbers: Vec<i32> = db.all("SELECT n FROM wf.steps WHERE id = 'k' ORDER BY n");
    assert_eq!(numbers, (1..=numbers.len() as i32).collect::<Vec<_>>());
    let names: Vec<String> = db.all("SELECT name FROM wf.steps WHERE id = 'k' AND kind <> 'step' ORDER BY n");
    assert_eq!(
        names,
        [
            "wf_now",
            "progress",
            "progress",
            "progress",
            "progress",
            "wf_uuid",
            "wf_random",
            "sleep",
            "sleep",
            "sleep"
        ]
    );
    assert_eq!(db.one::<Value>("SELECT wf_get('k', 'progress')"), json!(150));
    assert!(calls(&cluster, "kinds") <= 30, "{} calls", calls(&cluster, "kinds"));
    assert!(attempts(&mut db) <= 278 + 10 * 60, "{} attempts", attempts(&mut db));
    queues_are_empty(&mut db);
}

#[test]
fn what_is_done_is_visible_while_it_goes_on() {
    let (cluster, mut db) = effects(&[]);
    procedure(
        &mut db,
        "slow",
        "",
        &format!(
            "FOR i IN 1..100 LOOP {} END LOOP;
             PERFORM wf_set('progress', '100');
             CALL wf_step('nap', 'SELECT nextval(''naps''), pg_sleep(1.5)', '{{}}', r);
             FOR i IN 1..100 LOOP {} END LOOP;
             result := '\"done\"';",
            step("before", "'before ' || i"),
            step("after", "'after ' || i")
        ),
    );
    db.run("CREATE SEQUENCE naps");
    // Of the first nothing is known; the second knows where it is slow.
    for round in 1..=2 {
        let id = format!("s-{round}");
        start(&mut db, "slow", &id, &json!({}));
        db.in_step(&id, "nap");
        assert_eq!(db.count("effects WHERE what LIKE 'before%'"), 100 * round);
        assert_eq!(db.count("effects WHERE what LIKE 'after%'"), 100 * (round - 1));
        assert_eq!(
            db.count(&format!(
                "wf.steps WHERE id = '{id}' AND name = 'before' AND status = 'completed'"
            )),
            100
        );
        assert_eq!(
            db.one::<Option<Value>>(&format!("SELECT wf_get('{id}', 'progress')")),
            Some(json!(100))
        );
        assert_eq!(db.status(&id), "running");
        assert_eq!(db.result(&id), json!("done"));
    }
    // It was interrupted once, to be run alone; after that it is known.
    assert!(db.one::<i64>("SELECT last_value FROM naps") <= 4);
    assert_eq!(db.count("effects"), 400);
    assert!(calls(&cluster, "slow") <= 8, "{} calls", calls(&cluster, "slow"));

    // A chain of quick steps is seen on its way, too.
    db.run("TRUNCATE effects");
    procedure(
        &mut db,
        "shows",
        "",
        &format!(
            "FOR i IN 1..20000 LOOP PERFORM wf_set('progress', to_jsonb(i)); {} END LOOP;",
            step("link", "i::text")
        ),
    );
    start(&mut db, "shows", "shows", &json!({}));
    let mut seen = HashSet::new();
    eventually(SOON, "five stages are seen", || {
        // One statement: one snapshot.
        let row = db
            .query_one(
                "SELECT (SELECT count(*) FROM effects), (SELECT count(*) FROM wf.steps WHERE id = 'shows' AND kind = 'step'),
                        (SELECT count(*) FROM wf.steps WHERE id = 'shows' AND kind = 'set'), wf_get('shows', 'progress')",
                &[],
            )
            .expect("a row");
        let (effects, steps, set): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let progress: Option<Value> = row.get(3);
        assert_eq!(effects, steps, "effects and history agree");
        assert!((0..=1).contains(&(set - steps)), "{set} values for {steps} steps");
        assert!(progress.is_none_or(|p| p.as_i64().is_some_and(|p| p >= set)), "{set}");
        if effects > 0 && effects < 20_000 {
            seen.insert(effects);
        }
        seen.len() >= 5
    });
    db.run("SELECT wf_cancel('shows')");
}

#[test]
fn what_is_published_is_visible_during_the_next_step() {
    let (_cluster, mut db) = effects(&[]);
    procedure(
        &mut db,
        "publishes",
        "",
        "FOR i IN 1..2 LOOP
             PERFORM wf_set('progress', to_jsonb(i));
             CALL wf_step('nap ' || i, 'SELECT pg_sleep(1)', '{}', r);
         END LOOP;
         result := '1';",
    );
    // The second time it is known that the steps are slow: they run in place, and nothing else is to be committed before.
    for round in 1..=2 {
        let id = format!("p-{round}");
        start(&mut db, "publishes", &id, &json!({}));
        for i in 1..=2 {
            db.in_step(&id, &format!("nap {i}"));
            let progress: Option<Value> = db.one(&format!("SELECT wf_get('{id}', 'progress')"));
            assert_eq!(progress, Some(json!(i)), "in round {round}");
        }
        assert_eq!(db.result(&id), json!(1));
    }
}

#[test]
fn the_body_sees_what_its_steps_and_others_did() {
    let (cluster, mut db) = effects(&[]);
    procedure(
        &mut db,
        "looks",
        "seen bigint; too bigint; last text;",
        &format!(
            "FOR i IN 1..300 LOOP
                 {}
                 SELECT count(*) INTO seen FROM effects WHERE what <> 'other';
                 last := (SELECT what FROM effects WHERE what <> 'other' ORDER BY n DESC LIMIT 1);
                 EXECUTE 'SELECT count(*) FROM effects WHERE what <> ''other''' INTO too;
                 IF seen <> i OR too <> i OR last <> i::text THEN RAISE 'in step % it sees % and % and %', i, seen, too, last; END IF;
             END LOOP;
             -- Of what others commit, every statement sees the latest.
             FOR i IN 1..1000000 LOOP
                 CALL wf_step('tick', 'SELECT 1', '{{}}', r);
                 EXIT WHEN EXISTS (SELECT FROM effects WHERE what = 'other');
             END LOOP;
             result := '1';",
            step("link", "i::text")
        ),
    );
    start(&mut db, "looks", "l", &json!({}));
    eventually(SOON, "it ticks", || {
        db.count("wf.steps WHERE id = 'l' AND name = 'tick'") > 100
    });
    db.run("INSERT INTO effects (what) VALUES ('other')");
    assert_eq!(db.result("l"), json!(1));
    assert!(calls(&cluster, "looks") <= 5, "{} calls", calls(&cluster, "looks"));
}

#[test]
fn steps_may_change_the_catalogue_under_it() {
    let (_cluster, mut db) = effects(&[]);
    // Functions that the next step calls, a table that it writes, and the procedure itself.
    procedure(
        &mut db,
        "changes",
        "sum int := 0;",
        "FOR i IN 1..100 LOOP
             CALL wf_step('create', format('CREATE OR REPLACE FUNCTION made() RETURNS int LANGUAGE sql AS ''SELECT %s''', i), '{}', r);
             CALL wf_step('call', 'made', '{}', r);
             sum := sum + r::int;
             CALL wf_step('table', 'DROP TABLE IF EXISTS fresh; CREATE TABLE fresh (v int)', '{}', r);
             CALL wf_step('fill', 'INSERT INTO fresh SELECT made() RETURNING v', '{}', r);
             sum := sum + (r->>0)::int;
             IF i = 50 THEN
                 CALL wf_step('itself', 'CREATE OR REPLACE PROCEDURE changes(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS ''BEGIN result := 0; END''', '{}', r);
             END IF;
         END LOOP;
         PERFORM wf_sleep('1 ms');
         result := to_jsonb(sum);",
    );
    start(&mut db, "changes", "c", &json!({}));
    assert_eq!(db.result("c"), json!(2 * 5050));
    assert_eq!(db.count("wf.steps WHERE id = 'c' AND kind = 'step'"), 401);
    start(&mut db, "changes", "new", &json!({}));
    assert_eq!(db.result("new"), json!(0));
}

#[test]
fn functions_are_still_called_by_position() {
    let (_cluster, mut db) = effects(&[]);
    // Beside a procedure of the same name. A literal in the fourth place wants its type.
    db.run(
        "CREATE FUNCTION positions(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_step('one', 'SELECT 1');
             PERFORM wf_step('two', 'SELECT 1', '{}');
             PERFORM wf_step('three', 'SELECT 1', '{}', interval '1 min');
             PERFORM wf_step('four', 'SELECT 1', '{}', interval '1 min', '{\"max_attempts\": 1}');
             PERFORM wf_step('five', 'SELECT 1', '{}', NULL::interval);
             PERFORM wf_wait_signal('go', '10 ms');
             PERFORM wf_wait_signal('go', NULL);
             RETURN wf_wait_signal('go');
         END $$;
         BEGIN; SELECT wf_start('positions', id => 'p'); SELECT wf_signal('p', 'go', to_jsonb(i)) FROM generate_series(1, 3) AS i; COMMIT",
    );
    assert_eq!(db.result("p"), json!(3));
}

#[test]
fn the_forms_of_a_call_may_be_mixed() {
    let (cluster, mut db) = effects(&[]);
    procedure(
        &mut db,
        "mixes",
        "",
        &format!(
            "FOR i IN 1..100 LOOP
                 {}
                 PERFORM wf_step('performed', 'effect', jsonb_build_object('what', 'performed ' || i));
                 r := wf_step('assigned', 'effect', jsonb_build_object('what', 'assigned ' || i));
             END LOOP;
             result := r;",
            step("called", "'called ' || i")
        ),
    );
    start(&mut db, "mixes", "m", &json!({}));
    assert_eq!(db.result("m"), json!("assigned 100"));
    let expected: Vec<String> = (1..=100)
        .flat_map(|i| ["called", "performed", "assigned"].map(|form| format!("{form} {i}")))
        .collect();
    assert_eq!(log(&mut db), expected);
    assert!(attempts(&mut db) <= 460, "{} attempts", attempts(&mut db));
    // A call of the procedure for each step that is a function, and some to learn it.
    assert!(calls(&cluster, "mixes") <= 320, "{} calls", calls(&cluster, "mixes"));
}
