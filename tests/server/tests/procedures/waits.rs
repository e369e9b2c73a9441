//! Waits in the middle, and what is known outside of what came before them.

use super::*;

#[test]
fn what_comes_before_a_wait_is_done_once() {
    let (cluster, mut db) = effects(&[]);
    procedure(
        &mut db,
        "waits",
        "got jsonb; late jsonb;",
        &format!(
            "FOR i IN 1..70 LOOP {before} END LOOP;
             PERFORM wf_sleep('100 ms');
             FOR i IN 1..10 LOOP {middle} END LOOP;
             got := wf_wait_signal('go');
             {single}
             late := wf_wait_signal('never', timeout => '50 ms');
             PERFORM wf_sleep_until(wf_now() + interval '50 ms');
             FOR i IN 1..70 LOOP {after} END LOOP;
             result := jsonb_build_array(got, late);",
            before = step("before", "'before ' || i"),
            middle = step("middle", "'middle ' || i"),
            single = step("single", "'got ' || (got #>> '{}')"),
            after = step("after", "'after ' || i"),
        ),
    );
    for round in 1..=3 {
        let id = format!("w-{round}");
        db.run("TRUNCATE effects RESTART IDENTITY");
        let before = calls(&cluster, "waits");
        start(&mut db, "waits", &id, &json!({}));
        db.waits_for(&id, "signal \"go\"");
        assert_eq!(db.count("effects"), 80);
        // Nobody holds anything while it waits.
        assert_eq!(db.count("wf.workers WHERE id IS NOT NULL"), 0);
        db.run(&format!("SELECT wf_signal('{id}', 'go', '\"x\"')"));
        assert_eq!(db.result(&id), json!(["x", null]));
        assert_eq!(db.count("effects"), 151);
        assert_eq!(db.one::<i64>("SELECT count(DISTINCT what) FROM effects"), 151);
        let called = calls(&cluster, "waits") - before;
        assert!(called <= 40, "{called} calls in round {round}");
        // A first time it may find out behind which step the waits come; what was lost then is done again.
        let most = if round == 1 { 3 * 151 } else { 151 + 60 };
        assert!(
            attempts(&mut db) <= most,
            "{} attempts in round {round}",
            attempts(&mut db)
        );
    }
    queues_are_empty(&mut db);
}

#[test]
fn what_is_done_is_committed_before_the_procedure_thinks() {
    let (cluster, mut db) = effects(&[]);
    procedure(
        &mut db,
        "thinks",
        "",
        &format!(
            "FOR i IN 1..3 LOOP {} {} {} PERFORM pg_sleep(1.5); END LOOP; result := '1';",
            step("one", "'one ' || i"),
            step("' || i || '", "'named ' || i"),
            step("three ' || i || '", "'three ' || i")
        ),
    );
    // Its own code is user code too: nobody is to wait for what it has done before.
    for round in 1..=2 {
        let id = format!("t-{round}");
        start(&mut db, "thinks", &id, &json!({}));
        for i in 1..=3 {
            let now = 9 * (round - 1) + 3 * i;
            eventually(SOON, "it thinks", || {
                db.count("pg_stat_activity WHERE wait_event = 'PgSleep'") == 1 && db.count("effects") >= now - 2
            });
            std::thread::sleep(Duration::from_millis(400));
            assert_eq!(db.count("effects"), now, "in round {round}, thinking for the {i}. time");
            eventually(SOON, "it goes on", || {
                db.count("pg_stat_activity WHERE wait_event = 'PgSleep'") == 0 || db.count("effects") > now
            });
        }
        assert_eq!(db.result(&id), json!(1));
    }
    assert!(calls(&cluster, "thinks") <= 16, "{} calls", calls(&cluster, "thinks"));
    assert!(attempts(&mut db) <= 36, "{} attempts", attempts(&mut db));
}

#[test]
fn a_wait_now_and_then_costs_little() {
    let (cluster, mut db) = effects(&[]);
    // The same step, sometimes with a wait behind it: what was learned of it is wrong every time.
    procedure(
        &mut db,
        "moody",
        "",
        &format!(
            "FOR i IN 1..200 LOOP
                 {}
                 IF i % 40 = 0 THEN PERFORM wf_sleep('1 ms'); END IF;
             END LOOP;
             result := '1';",
            step("link", "i::text")
        ),
    );
    start(&mut db, "moody", "m", &json!({}));
    assert_eq!(db.result("m"), json!(1));
    assert_eq!(db.count("effects"), 200);
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT what) FROM effects"), 200);
    assert_eq!(db.count("wf.steps WHERE id = 'm' AND attempt <> 1"), 0);
    // Before each of the five waits what is not committed is lost and done again, once: up to 60 steps.
    assert!(attempts(&mut db) <= 200 + 6 * 60, "{} attempts", attempts(&mut db));
    assert!(calls(&cluster, "moody") <= 30, "{} calls", calls(&cluster, "moody"));
    queues_are_empty(&mut db);
}

#[test]
fn signals_that_arrive_while_it_runs_are_kept() {
    let (_cluster, mut db) = effects(&[]);
    procedure(
        &mut db,
        "collects",
        "got jsonb := '[]';",
        &format!(
            "FOR i IN 1..3000 LOOP {} END LOOP;
             FOR i IN 1..60 LOOP got := got || wf_wait_signal('go'); END LOOP;
             result := got;",
            step("link", "i::text")
        ),
    );
    start(&mut db, "collects", "c", &json!({}));
    effects_reach(&mut db, 60);
    for i in 0..60 {
        db.run(&format!("SELECT wf_signal('c', 'go', '{i}')"));
    }
    assert_eq!(db.result("c"), json!((0..60).collect::<Vec<_>>()));
    assert_eq!(db.count("effects"), 3000);
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT what) FROM effects"), 3000);
    queues_are_empty(&mut db);
}

#[test]
fn signals_that_are_there_are_taken_in_place() {
    let (cluster, mut db) = effects(&[]);
    // Sent before, while steps run, and by a step of its own.
    procedure(
        &mut db,
        "takes",
        "got jsonb := '[]'; s jsonb;",
        &format!(
            "FOR i IN 0..499 LOOP
                 CALL wf_wait_signal('go', NULL, s);
                 got := got || s;
                 IF i % 5 = 0 THEN {} END IF;
             END LOOP;
             CALL wf_step('own', 'SELECT wf_signal(''t'', ''own'', to_jsonb(i)) FROM generate_series(1, 3) AS i', '{{}}', r);
             FOR i IN 1..3 LOOP
                 CALL wf_wait_signal(name => 'own', payload => s, timeout => '1 min');
                 got := got || s;
             END LOOP;
             CALL wf_wait_signal('never', '50 ms', s);
             result := jsonb_build_array(got, s);",
            step("link", "i::text")
        ),
    );
    db.run("BEGIN; SELECT wf_start('takes', id => 't'); SELECT wf_signal('t', 'go', to_jsonb(i)) FROM generate_series(0, 499) AS i; COMMIT");
    let mut expected: Vec<i32> = (0..500).collect();
    expected.extend(1..=3);
    assert_eq!(db.result("t"), json!([expected, null]));
    assert_eq!(db.count("effects"), 100);
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT what) FROM effects"), 100);
    assert_eq!(
        db.count("wf.steps WHERE id = 't' AND kind = 'signal' AND status = 'completed'"),
        504
    );
    assert_eq!(db.count("wf.signals WHERE id = 't' AND consumed_at IS NOT NULL"), 503);
    assert!(calls(&cluster, "takes") <= 8, "{} calls", calls(&cluster, "takes"));
    queues_are_empty(&mut db);

    // Cancelled at one, in a block and outside.
    procedure(
        &mut db,
        "waits_for_one",
        "s jsonb;",
        &format!(
            "{}
             IF input ? 'block' THEN
                 BEGIN CALL wf_wait_signal('go', NULL, s); EXCEPTION WHEN SQLSTATE 'WF002' THEN result := '\"told\"'; END;
             ELSE
                 CALL wf_wait_signal('go', NULL, s);
             END IF;",
            step("link", "'one'")
        ),
    );
    for (id, input) in [("outside", json!({})), ("block", json!({"block": 1}))] {
        start(&mut db, "waits_for_one", id, &input);
        db.waits_for(id, "signal \"go\"");
        db.run(&format!("SELECT wf_cancel('{id}')"));
    }
    assert_eq!(db.failure("outside").sqlstate, "WF002");
    assert_eq!(db.result("block"), json!("told"));
}

#[test]
fn the_oldest_signal_is_taken_first() {
    let (cluster, mut db) = effects(&[]);
    // Between two of them it does not wait, so that its process forgets nothing of the first.
    procedure(
        &mut db,
        "takes",
        "got jsonb := '[]'; s jsonb;",
        "CALL wf_wait_signal('go', NULL, s); got := got || s;
         LOOP
             CALL wf_step('look', 'SELECT count(*) FROM effects', '{}', r);
             EXIT WHEN r->>0 <> '0';
         END LOOP;
         CALL wf_wait_signal('go', NULL, s); got := got || s;
         CALL wf_wait_signal('go', NULL, s); got := got || s;
         result := got;",
    );
    start(&mut db, "takes", "t", &json!({}));
    db.waits_for("t", "signal \"go\"");
    // Sent first, committed second: when the third comes it is the oldest of two.
    let mut early = cluster.admin();
    early.run("BEGIN; SELECT wf_signal('t', 'go', '1')");
    db.run("SELECT wf_signal('t', 'go', '2')");
    eventually(SOON, "the second is taken", || {
        db.count("wf.signals WHERE consumed_at IS NOT NULL") == 1
    });
    early.run("COMMIT");
    db.run("SELECT wf_signal('t', 'go', '3')");
    db.run("INSERT INTO effects (what) VALUES ('go on')");
    assert_eq!(db.result("t"), json!([2, 1, 3]));
}

#[test]
fn steps_start_signal_and_cancel_others() {
    let (_cluster, mut db) = effects(&[]);
    procedure(
        &mut db,
        "child",
        "",
        &format!("{} result := r;", step("child", "'child ' || (input->>'i')")),
    );
    procedure(&mut db, "idler", "", "result := wf_wait_signal('go');");
    procedure(
        &mut db,
        "parent",
        "own jsonb;",
        "CALL wf_step('idler', 'SELECT wf_start(''idler'', id => ''i-1''), wf_start(''idler'', id => ''i-2'')', '{}', r);
         FOR i IN 1..100 LOOP
             CALL wf_step('child', 'SELECT wf_start(''child'', $1, id => ''c-'' || ($1->>''i''))', jsonb_build_object('i', i), r);
         END LOOP;
         CALL wf_step('signal', 'SELECT wf_signal(''i-1'', ''go'', ''1''), wf_cancel(''i-2'')', '{}', r);
         CALL wf_step('own', 'SELECT wf_signal(''p'', ''own'', ''7'')', '{}', r);
         own := wf_wait_signal('own');
         CALL wf_step('nap', 'SELECT pg_sleep(2)', '{}', r);
         CALL wf_step('end', 'SELECT wf_cancel(''p'')', '{}', r);
         FOR i IN 1..1000000 LOOP CALL wf_step('on', 'SELECT 1', '{}', r); END LOOP;",
    );
    start(&mut db, "parent", "p", &json!({}));
    db.in_step("p", "nap");
    // What a step has asked for happens once it is committed, not when the chain ends.
    assert_eq!(db.result("i-1"), json!(1));
    assert_eq!(db.failure("i-2").sqlstate, "WF002");
    assert_eq!(db.result("c-100"), json!("child 100"));
    eventually(SOON, "all children end", || db.count("effects") == 100);
    assert_eq!(db.status("p"), "running");
    assert_eq!(db.failure("p").sqlstate, "WF002");
    queues_are_empty(&mut db);
}
