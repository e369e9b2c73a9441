//! Procedures in sessions that call wf_run_pending.

use super::*;

#[test]
fn procedures_are_driven_by_hand() {
    let cluster = Cluster::bare(&[]);
    let mut db = cluster.admin();
    db.run("CREATE EXTENSION pg_workflow");
    db.run(EFFECTS);
    db.run(BAD);
    chain(&mut db);
    procedure(
        &mut db,
        "mixed",
        "caught text; got jsonb;",
        &format!(
            "FOR i IN 1..50 LOOP {before} END LOOP;
             BEGIN CALL wf_step('bad', 'bad', '{{\"what\": \"lost\"}}', r); EXCEPTION WHEN SQLSTATE 'P0042' THEN caught := SQLERRM; {undo} END;
             CALL wf_step('slow', 'SELECT pg_sleep(0.1)', '{{}}', r);
             PERFORM wf_sleep('0');
             CALL wf_wait_signal('go', NULL, got);
             FOR i IN 1..50 LOOP {after} END LOOP;
             result := jsonb_build_array(caught, got);",
            before = step("before", "'before ' || i"),
            undo = step("undo", "'undone'"),
            after = step("after", "'after ' || i"),
        ),
    );
    procedure(
        &mut db,
        "commits",
        "",
        &format!("{} COMMIT; {}", step("one", "'one'"), step("two", "'two'")),
    );

    start(&mut db, "chain", "c", &json!({"n": 300}));
    db.run("CALL wf_run_pending()");
    chain_is_whole(&mut db, "c", 300);
    for (begin, end, kept) in [("", "", true), ("BEGIN", "COMMIT", true), ("BEGIN", "ROLLBACK", false)] {
        let id = format!("m {begin} {end}");
        db.run("TRUNCATE effects");
        db.run(begin);
        start(&mut db, "mixed", &id, &json!({}));
        start(&mut db, "commits", &format!("c {begin} {end}"), &json!({}));
        db.run("CALL wf_run_pending()");
        assert_eq!(db.status(&id), "waiting", "{id}");
        assert_eq!(
            db.count("effects WHERE what LIKE 'before%' OR what = 'undone'"),
            51,
            "{id}"
        );
        db.run(&format!("SELECT wf_signal('{id}', 'go', '5')"));
        db.run("CALL wf_run_pending()");
        assert_eq!(db.result(&id), json!(["bad lost", 5]), "{id}");
        assert_eq!(db.status(&format!("c {begin} {end}")), "failed");
        assert_eq!(db.count("effects"), 102, "{id}");
        assert_eq!(db.one::<i64>("SELECT count(DISTINCT what) FROM effects"), 102, "{id}");
        db.run(end);
        assert_eq!(db.count("effects"), if kept { 102 } else { 0 }, "{id}");
        assert_eq!(db.count(&format!("wf.workflows WHERE id = '{id}'")), i64::from(kept));
    }
    assert_eq!(db.failure("c  ").sqlstate, "2D000");
    // In a procedure of the user's, and in a function.
    db.run("TRUNCATE effects; CREATE PROCEDURE drives() LANGUAGE plpgsql AS $$ BEGIN CALL wf_run_pending(); COMMIT; CALL wf_run_pending(); END $$");
    start(&mut db, "chain", "d", &json!({"n": 100}));
    db.run("CALL drives()");
    chain_is_whole(&mut db, "d", 100);
    db.run("TRUNCATE effects");
    start(&mut db, "chain", "do", &json!({"n": 100}));
    db.run("DO $$ BEGIN CALL wf_run_pending(); END $$");
    chain_is_whole(&mut db, "do", 100);
}
