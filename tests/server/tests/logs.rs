//! What steps raise is kept: once, whatever becomes of the step and its transaction, and within bounds.

use pg_workflow_server_tests::*;

/// Steps that talk. `deferred` fails at commit for odd numbers.
const TALK: &str = "
    CREATE FUNCTION say(level text, word text) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        CASE level
            WHEN 'debug' THEN RAISE DEBUG '%', word;
            WHEN 'log' THEN RAISE LOG '%', word;
            WHEN 'info' THEN RAISE INFO '%', word;
            WHEN 'notice' THEN RAISE NOTICE '%', word USING DETAIL = 'some detail', HINT = 'some hint', ERRCODE = 'P0042';
            WHEN 'warning' THEN RAISE WARNING '%', word;
        END CASE;
        RETURN word;
    END $$;
    CREATE FUNCTION say_all(word text) RETURNS void LANGUAGE sql AS $$
        SELECT say(l, word || ' ' || l) FROM unnest('{debug,log,info,notice,warning}'::text[]) l $$;
    CREATE FUNCTION all_levels(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        RAISE WARNING 'outside of steps';
        RETURN wf_step('talk', 'say_all', input);
    END $$;

    CREATE FUNCTION say_and_fail(word text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        RAISE NOTICE '%', word;
        RAISE 'failed' USING ERRCODE = 'P0043';
    END $$;
    CREATE FUNCTION failing(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        RETURN wf_step('fail', 'say_and_fail', '{\"word\": \"attempt\"}',
                       retry => '{\"max_attempts\": 3, \"first_delay\": \"1 ms\"}');
    END $$;
    CREATE PROCEDURE failing_in_place(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
    BEGIN
        FOR i IN 1..30 LOOP
            CALL wf_step('talk', 'say', jsonb_build_object('level', 'notice', 'word', 'in place ' || i), result);
        END LOOP;
        BEGIN
            CALL wf_step('fail', 'say_and_fail', '{\"word\": \"in place, failing\"}', result);
        EXCEPTION WHEN SQLSTATE 'P0043' THEN
            CALL wf_step('talk', 'say', '{\"level\": \"notice\", \"word\": \"in place, caught\"}', result);
        END;
    END $$;

    CREATE FUNCTION slow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_step('slow', $q$ SELECT say('notice', 'slow'), pg_sleep(0.3)::text $q$); END $$;

    CREATE TABLE odd (n int);
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.n % 2 = 1 THEN RAISE 'odd' USING ERRCODE = 'P0044'; END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON odd DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
    CREATE FUNCTION deferred(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('talk', 'say', '{\"level\": \"notice\", \"word\": \"before\"}');
        BEGIN
            PERFORM wf_step('insert', 'INSERT INTO odd SELECT $1::int', input->'n');
        EXCEPTION WHEN SQLSTATE 'P0044' THEN
            NULL;
        END;
        RETURN wf_step('talk', 'say', '{\"level\": \"notice\", \"word\": \"behind\"}');
    END $$;

    CREATE FUNCTION beside(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('command', 'DO $d$ BEGIN RAISE NOTICE ''of a command''; COMMIT; END $d$', transactional => false);
        RETURN wf_map('each', 'SELECT say(''notice'', $1#>>''{}'')', '[\"a\", \"b\"]');
    END $$;

    CREATE FUNCTION much(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        FOR i IN 1..4 LOOP
            PERFORM wf_step('much', 'SELECT count(say(''notice'', n::text)) FROM generate_series(1, $1::int) n', input->'n');
        END LOOP;
        RETURN NULL;
    END $$;";

fn messages(db: &mut Client, id: &str) -> Vec<String> {
    db.all(&format!(
        "SELECT format('%s.%s %s %s', step, attempt, severity, message) FROM wf.logs WHERE id = '{id}' ORDER BY seq"
    ))
}

#[test]
fn what_steps_raise_is_kept_once() {
    let cluster = Cluster::with(&["log_min_messages = warning", "pg_workflow.max_executors = 2"]);
    let mut db = cluster.admin();
    db.run(TALK);

    // The level, and what comes with a message; and the server's log is not told more than it wants to know.
    db.run("SELECT wf_start('all_levels', '{\"word\": \"first\"}', id => 'levels')");
    db.result("levels");
    assert_eq!(
        messages(&mut db, "levels"),
        [
            "talk.1 INFO first info",
            "talk.1 NOTICE first notice",
            "talk.1 WARNING first warning"
        ]
    );
    let notice: String = db.one(
        "SELECT concat_ws('|', sqlstate, detail, hint, split_part(context, E'\n', 1), workflow, n, at > now() - interval '1 min')
         FROM wf.logs WHERE id = 'levels' AND severity = 'NOTICE'",
    );
    assert_eq!(
        notice,
        "P0042|some detail|some hint|PL/pgSQL function say(text,text) line 7 at RAISE|all_levels|1|t"
    );
    assert_eq!(cluster.logged("first notice"), 0);
    assert_eq!(cluster.logged("first info"), 0);
    assert_eq!(cluster.logged("WARNING:  first warning"), 1);
    assert_eq!(cluster.logged("LOG:  first log"), 1);

    // Of each attempt, though each is undone.
    db.run("SELECT wf_start('failing', id => 'failing')");
    assert_eq!(db.failure("failing").sqlstate, "P0043");
    assert_eq!(
        messages(&mut db, "failing"),
        [
            "fail.1 NOTICE attempt",
            "fail.2 NOTICE attempt",
            "fail.3 NOTICE attempt"
        ]
    );
    db.run("SELECT wf_start('failing_in_place', id => 'in place')");
    db.result("in place");
    let mut expected: Vec<String> = (1..=30).map(|i| format!("talk.1 NOTICE in place {i}")).collect();
    expected.push("fail.1 NOTICE in place, failing".to_owned());
    expected.push("talk.1 NOTICE in place, caught".to_owned());
    assert_eq!(messages(&mut db, "in place"), expected);

    // Not of what was interrupted and rolled back to be run again: neither of one step nor of a whole transaction.
    db.run("SELECT wf_start('slow', id => 'slow')");
    db.result("slow");
    assert_eq!(messages(&mut db, "slow"), ["slow.1 NOTICE slow"]);
    db.run(
        "SELECT count(wf_start('deferred', jsonb_build_object('n', n), id => 'd' || n)) FROM generate_series(1, 6) n",
    );
    for n in 1..=6 {
        db.result(&format!("d{n}"));
        assert_eq!(
            messages(&mut db, &format!("d{n}")),
            ["talk.1 NOTICE before", "talk.1 NOTICE behind"]
        );
    }
    assert_eq!(db.count("odd"), 3);

    // Beside the run.
    db.run("SELECT wf_start('beside', id => 'beside')");
    db.result("beside");
    let mut beside: Vec<String> =
        db.all("SELECT format('%s %s %s', step, item, message) FROM wf.logs WHERE id = 'beside' ORDER BY step, item");
    beside.sort();
    assert_eq!(beside, ["command 1 of a command", "each 1 a", "each 2 b"]);

    // Whoever else, and by hand.
    db.run("CREATE ROLE quiet LOGIN; ALTER ROLE quiet SET pg_workflow.log_level = 'off'; CREATE ROLE loud LOGIN");
    db.run("ALTER ROLE loud SET pg_workflow.log_level = 'debug'; GRANT CREATE ON SCHEMA public TO quiet, loud");
    let (mut quiet, mut loud) = (
        cluster.connect("postgres", "quiet"),
        cluster.connect("postgres", "loud"),
    );
    quiet.run("SELECT wf_start('all_levels', '{\"word\": \"quiet\"}', id => 'quiet')");
    quiet.result("quiet");
    loud.run(
        "BEGIN; SELECT wf_start('all_levels', '{\"word\": \"loud\"}', id => 'loud'); CALL wf_run_pending(); COMMIT",
    );
    assert_eq!(quiet.count("wf.logs"), 0);
    let heard: Vec<String> = loud.all("SELECT DISTINCT severity FROM wf.logs WHERE message LIKE 'loud %' ORDER BY 1");
    assert_eq!(heard, ["DEBUG", "INFO", "LOG", "NOTICE", "WARNING"]);
    assert_eq!(loud.count("wf.logs WHERE id <> 'loud'"), 0);
    let refused = loud.fails("SET pg_workflow.log_lines = 10000");
    assert_eq!(refused.sqlstate, "42501");
    let refused = loud.fails("SET pg_workflow.log_level = 'shout'");
    assert_eq!(refused.sqlstate, "22023");

    // They go with the run.
    db.run("SELECT wf_purge('0 s')");
    assert_eq!(db.count("wf_internal.logs"), 0);
}

#[test]
fn the_number_of_messages_is_bounded() {
    let cluster = Cluster::with(&["pg_workflow.log_lines = 5", "pg_workflow.log_lines_per_run = 8"]);
    let mut db = cluster.admin();
    db.run(TALK);
    db.run("SELECT wf_start('much', '{\"n\": 7}', id => 'attempt')");
    db.result("attempt");
    let kept: Vec<String> = db.all("SELECT concat(n, ':', message) FROM wf.logs WHERE id = 'attempt' ORDER BY seq");
    assert_eq!(
        kept,
        [
            "1:1",
            "1:2",
            "1:3",
            "1:4",
            "1:5",
            "1:2 more messages of this attempt were not kept",
            "2:1",
            "2:2",
            "2:no more messages of this run are kept"
        ]
    );
    // Just as many as are kept.
    db.run("SELECT wf_start('much', '{\"n\": 2}', id => 'run')");
    db.result("run");
    assert_eq!(db.count("wf.logs WHERE id = 'run'"), 8);
    assert_eq!(db.count("wf.logs WHERE id = 'run' AND severity = 'WARNING'"), 0);
}

#[test]
fn a_crash_leaves_no_messages_behind() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(TALK);
    db.run(
        "CREATE FUNCTION long(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_step('say', 'say', '{\"level\": \"notice\", \"word\": \"before\"}');
             RETURN wf_step('long', $q$ SELECT say('notice', 'during'), pg_sleep(2)::text $q$);
         END $$",
    );
    db.run("SELECT wf_start('long', id => 'long')");
    db.in_step("long", "long");
    cluster.kill9();
    cluster.start();
    let mut db = cluster.admin();
    db.result("long");
    assert_eq!(
        messages(&mut db, "long"),
        ["say.1 NOTICE before", "long.1 NOTICE during"]
    );
}
