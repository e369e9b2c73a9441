//! Instances in every state that one can stay in, for tests that carry them elsewhere: dumps, updates of the schema, other
//! major versions. [`fill`] makes them, [`snapshot`] is all that there is of them, [`finish`] brings each to its end.

use std::collections::BTreeMap;

use crate::*;

/// What fails, fails while a table says so. Each work leaves a row: doing it twice is seen.
const FLOWS: &str = r#"
    CREATE TABLE effects (id text, step text);
    CREATE TABLE broken (what text PRIMARY KEY);
    INSERT INTO broken VALUES ('flow'), ('undo'), ('item'), ('command'), ('branch');
    CREATE FUNCTION work(id text, step text, what text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM broken b WHERE b.what = work.what) THEN
            RAISE '% is broken', what;
        END IF;
        INSERT INTO effects VALUES (work.id, work.step);
        RETURN step;
    END $$;
    CREATE FUNCTION step(name text, input jsonb, what text DEFAULT NULL, retry jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
        SELECT wf_step(name, 'work', jsonb_build_object('id', input->>'id', 'step', name, 'what', what), retry => retry)
    $$;
    CREATE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_set('at', '"begin"'), wf_emit('log', '"first"'), step('one', input);
        PERFORM wf_wait_signal('go', prompt => 'Go?', schema => '{"type": ["null", "object"]}');
        PERFORM wf_set('at', '"end"'), wf_emit('log', '"last"'), step('two', input);
        RETURN '"old code"';
    END $$;
    CREATE FUNCTION sleeps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN PERFORM step('one', input); PERFORM wf_sleep('1 day'); PERFORM step('two', input); RETURN '"slept"'; END $$;
    CREATE FUNCTION fails(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN PERFORM step('one', input); PERFORM step('two', input, 'flow'); RETURN '"repaired"'; END $$;
    CREATE FUNCTION undoes(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM step('one', input);
        PERFORM wf_compensate('undo', 'work', jsonb_build_object('id', input->>'id', 'step', 'undo', 'what', 'undo'),
                              retry => '{"max_attempts": 5, "first_delay": "1 day"}');
        RAISE 'gone wrong';
    END $$;
    CREATE FUNCTION calls(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    DECLARE result jsonb;
    BEGIN
        PERFORM step('one', input);
        result := wf_call('child', 'waits', '{"id": "child"}', id => 'child');
        PERFORM step('two', input);
        RETURN result;
    END $$;
    CREATE FUNCTION maps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        RETURN wf_map('each', 'work', '[{"id": "map", "step": "a"}, {"id": "map", "step": "b", "what": "item"}]',
                      retry => '{"max_attempts": 5, "first_delay": "1 day"}');
    END $$;
    CREATE FUNCTION commands(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        RETURN wf_step('command', $s$ SELECT work('command', 'command', 'command') $s$, transactional => false,
                       retry => '{"max_attempts": 5, "first_delay": "1 day"}');
    END $$;
    CREATE FUNCTION begins(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    DECLARE beside integer; signal integer;
    BEGIN
        beside := wf_begin('beside', 'work', '{"id": "begin", "step": "beside", "what": "branch"}',
                           retry => '{"max_attempts": 5, "first_delay": "1 day"}');
        signal := wf_begin('signal', signal => 'go');
        PERFORM wf_await(signal);
        RETURN wf_await(beside);
    END $$;
    CREATE FUNCTION goes_on(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        IF input->>'n' = '1' THEN
            PERFORM step('one', input);
            RETURN wf_continue_as_new(input || '{"n": 2}');
        END IF;
        PERFORM wf_wait_signal('go');
        PERFORM step('two', input);
        RETURN input->'n';
    END $$;
    CREATE FUNCTION caches(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_step('cached', 'work', jsonb_build_object('id', 'cache', 'step', input->>'step'), cache_key => 'k'); END $$;
    CREATE FUNCTION tasks(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_task('task', input->>'queue', input, dedup => input->>'dedup'); END $$;
    CREATE PROCEDURE proceeds(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
    BEGIN
        CALL wf_step('one', 'work', '{"id": "procedure", "step": "one"}', result);
        PERFORM wf_sleep('1 day');
        CALL wf_step('two', 'work', '{"id": "procedure", "step": "two"}', result);
    END $$;
    CREATE TABLE orders (id text PRIMARY KEY);
    SELECT wf_on('orders', 'insert', 'waits', id => 'NEW.id');
    SELECT wf_define('named', 'sleeps', '{"priority": 3}');
    GRANT SELECT, INSERT ON effects, broken TO zoo_ann, zoo_late;
    SELECT wf_queue('narrow', max_running => 1);
"#;

/// Roles that instances belong to, beside the superuser. No process can be connected as the second one for now, so that
/// what is ready stays so.
pub const ROLES: &str = "CREATE ROLE zoo_ann LOGIN; CREATE ROLE zoo_late LOGIN";

/// Makes one of each in the database, which has the extension; returns the token of a task that a worker has.
pub fn fill(db: &mut Client) -> String {
    db.run(FLOWS);
    let started = [
        ("waits", "signal", ""),
        ("waits", "old", ""),
        ("waits", "later", "delay => '1 day'"),
        ("waits", "paused", ""),
        ("waits", "paused ready", ""),
        ("waits", "stopped", ""),
        ("waits", "done", ""),
        ("waits", "seated", "queue => 'narrow'"),
        ("named", "named", ""),
        ("sleeps", "sleep", ""),
        ("fails", "failed", ""),
        ("undoes", "undo", ""),
        ("calls", "parent", ""),
        ("maps", "map", ""),
        ("commands", "command", ""),
        ("begins", "begin", ""),
        ("goes_on", "chain", ""),
        ("proceeds", "procedure", ""),
    ];
    for (workflow, id, options) in started {
        let options = if options.is_empty() {
            String::new()
        } else {
            format!(", {options}")
        };
        db.run(&format!(
            r#"SELECT wf_start('{workflow}', '{{"id": "{id}", "n": 1}}', id => '{id}'{options})"#
        ));
    }
    db.run(
        r#"SELECT wf_start('tasks', '{"queue": "waiting"}', id => 'task waiting');
           SELECT wf_start('tasks', '{"queue": "running"}', id => 'task running');
           SELECT wf_start('tasks', '{"queue": "shared", "dedup": "d"}', id => 'shared 1');
           SELECT wf_start('caches', '{"step": "first"}', id => 'cached');
           INSERT INTO orders VALUES ('row');
           SET ROLE zoo_ann;
           SELECT wf_start('sleeps', '{"id": "ann"}', id => 'ann');
           RESET ROLE"#,
    );
    for id in [
        "signal",
        "old",
        "paused",
        "paused ready",
        "stopped",
        "done",
        "seated",
        "row",
        "chain",
        "child",
    ] {
        db.waits_for(id, "signal");
    }
    for id in ["named", "sleep", "ann", "procedure"] {
        db.waits_for(id, "sleep");
    }
    for id in ["task waiting", "task running", "shared 1"] {
        db.waits_for(id, "task");
    }
    db.result("cached");
    // Behind the first, which has the seat, and behind the one whose task it shares.
    db.run(
        r#"SELECT wf_start('waits', '{"id": "blocked"}', id => 'blocked', queue => 'narrow', dedup => 'seat');
           SELECT wf_start('tasks', '{"queue": "shared", "dedup": "d"}', id => 'shared 2');
           SELECT wf_pause('paused'), wf_pause('paused ready');
           SELECT wf_signal('paused ready', 'go'), wf_signal('later', 'go'), wf_signal('done', 'go', key => 'k'),
                  wf_signal('signal', 'another', '{"kept": true}');
           SELECT wf_cancel('stopped', 'enough');
           SELECT wf_schedule('yearly', '0 3 1 1 *', 'waits', '{"id": "scheduled"}')"#,
    );
    db.waits_for("blocked", "queue");
    db.waits_for("shared 2", "task");
    db.failure("stopped");
    db.failure("failed");
    db.result("done");
    eventually(SOON, "what is tried again is put off", || {
        db.status("undo") == "compensating"
            && db.count("wf_internal.branches WHERE status = 'retrying'") == 3
            && db.count("wf_internal.steps WHERE kind = 'compensation' AND status = 'retrying'") == 1
            && db.count("wf_internal.parked") == 1
    });
    // Nobody can be connected as their owner once this commits.
    db.run(
        r#"BEGIN;
           SET LOCAL ROLE zoo_late;
           SELECT wf_start('waits', '{"id": "ready"}', id => 'ready'), wf_start('sleeps', '{"id": "unwanted"}', id => 'unwanted');
           SELECT wf_signal('ready', 'go'), wf_cancel('unwanted');
           RESET ROLE;
           ALTER ROLE zoo_late NOLOGIN;
           COMMIT;
           CREATE OR REPLACE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
           BEGIN
               PERFORM step('one', input);
               PERFORM wf_wait_signal('go');
               PERFORM step('two', input);
               RETURN '"new code"';
           END $$"#,
    );
    let token = db.one("SELECT task FROM wf_poll('running', worker => 'w', lease => '1 day')");
    // Executors are through with what the last statements have made ready.
    eventually(SOON, "nobody is at anything", || {
        db.count("wf_internal.ready WHERE owner <> 'zoo_late'::regrole") == 0
            && db.count("wf.workers WHERE state = 'busy'") == 0
    });
    token
}

/// All rows of the tables of the extension that are dumped, with where its sequences stand.
pub fn snapshot(db: &mut Client) -> BTreeMap<String, Vec<Value>> {
    let members: Vec<String> = db.all(
        "SELECT CASE c.relkind WHEN 'S' THEN '(SELECT last_value, is_called FROM ' || c.oid::regclass || ')' ELSE c.oid::regclass::text END
         FROM pg_extension e JOIN pg_class c ON c.oid = ANY (e.extconfig) WHERE e.extname = 'pg_workflow'",
    );
    assert!(members.len() > 30, "{members:?}");
    let mut rows = |from: &String| db.all(&format!("SELECT to_jsonb(t) FROM {from} AS t ORDER BY to_jsonb(t)"));
    members.iter().map(|from| (from.clone(), rows(from))).collect()
}

/// What a user sees of them.
pub fn states(db: &mut Client) -> Vec<Value> {
    // Without what a release did not show, and what depends on the time of the look.
    db.all("SELECT to_jsonb(w) - '{queue_delay,run_time,progress}'::text[] FROM wf.workflows w ORDER BY id, run")
}

/// Has what was put off for a day fall due.
pub fn make_due(db: &mut Client) {
    db.run(
        "UPDATE wf_internal.timers SET due_at = '2020-01-01' WHERE n <> -3 AND run_id NOT IN (SELECT run_id FROM wf_internal.tasks);
         UPDATE wf_internal.steps SET due_at = '2020-01-01' WHERE due_at IS NOT NULL AND finished_at IS NULL;
         UPDATE wf_internal.branches SET due_at = '2020-01-01' WHERE due_at IS NOT NULL AND finished_at IS NULL;
         UPDATE wf_internal.runs SET start_at = '2020-01-01' WHERE start_at IS NOT NULL AND started_at IS NULL",
    );
}

/// Repairs what fails, lets everything go on, and sees to it that each comes to its end, with nothing done twice or not at
/// all. The workers may run here; what was put off is due.
pub fn finish(db: &mut Client, token: &str) {
    db.run("DELETE FROM broken; SELECT wf_retry('failed')");
    for (id, result) in [
        ("sleep", json!("slept")),
        ("named", json!("slept")),
        ("ann", json!("slept")),
        ("ready", json!("old code")),
        ("failed", json!("repaired")),
        ("later", json!("old code")),
        ("map", json!(["a", "b"])),
        ("command", json!(["command"])),
        ("procedure", json!("two")),
        ("cached", json!("first")),
        ("done", json!("old code")),
    ] {
        assert_eq!(db.result(id), result, "{id}");
    }
    assert_eq!(db.failure("undo").message, "gone wrong");
    assert_eq!(db.failure("stopped").sqlstate, "WF002");
    assert_eq!(db.failure("unwanted").sqlstate, "WF002");
    // The place in the queue is still taken, the pauses hold, the signal is known.
    assert_eq!(db.status("blocked"), "pending");
    assert_eq!(
        db.one::<String>(
            r#"SELECT wf_start('waits', '{"id": "again"}', id => 'again', queue => 'narrow', dedup => 'seat')"#
        ),
        "blocked"
    );
    assert_eq!(db.status("paused ready"), "paused");
    assert_eq!(db.fails("SELECT wf_signal('done', 'go', key => 'k')").sqlstate, "55000");
    db.run("SELECT wf_resume('paused'), wf_resume('paused ready')");
    for id in ["signal", "old", "paused", "seated", "row", "chain", "child", "begin"] {
        db.run(&format!("SELECT wf_signal('{id}', 'go')"));
    }
    for id in [
        "signal",
        "old",
        "paused",
        "paused ready",
        "seated",
        "row",
        "child",
        "parent",
    ] {
        assert_eq!(db.result(id), json!("old code"), "{id}");
    }
    assert_eq!(db.result("begin"), json!("beside"));
    assert_eq!(db.result("chain"), json!(2));
    assert_eq!(db.count("wf.signals WHERE id = 'signal' AND consumed_at IS NULL"), 1);
    assert_eq!(
        db.all::<Value>("SELECT value FROM wf_read_stream('signal', 'log')"),
        [json!("first"), json!("last")]
    );
    assert_eq!(db.one::<Value>("SELECT wf_get('signal', 'at')"), json!("end"));
    // The seat is free.
    db.waits_for("blocked", "signal");
    db.run("SELECT wf_signal('blocked', 'go')");
    assert_eq!(db.result("blocked"), json!("old code"));
    // Workers of tasks go on, with the token of before.
    db.run(&format!("SELECT wf_complete('{token}', '\"worked\"')"));
    db.run("SELECT wf_complete(task, '\"worked\"') FROM wf_poll(ARRAY['waiting', 'shared'], max => 10)");
    for id in ["task waiting", "task running", "shared 1", "shared 2"] {
        assert_eq!(db.result(id), json!("worked"), "{id}");
    }
    // What is new goes on with what was there: cache, schedule, trigger, name; and meets no number that is taken.
    db.run(
        r#"SELECT wf_start('caches', '{"step": "second"}', id => 'cached 2'), wf_start('named', '{"id": "named 2"}', id => 'named 2');
           INSERT INTO orders VALUES ('row 2')"#,
    );
    assert_eq!(db.result("cached 2"), json!("first"));
    db.waits_for("named 2", "sleep");
    db.run("SELECT wf_cancel('named 2')");
    let scheduled: String = db.one("SELECT wf_schedule_run('yearly')");
    for id in ["row 2", &scheduled] {
        eventually(SOON, "it is started", || {
            db.count(&format!("wf.workflows WHERE id = '{id}'")) == 1
        });
        db.waits_for(id, "signal");
        db.run(&format!("SELECT wf_signal('{id}', 'go')"));
        assert_eq!(db.result(id), json!("new code"), "{id}");
    }
    let mut done: Vec<String> = db.all("SELECT coalesce(id, '-') || ' ' || step FROM effects");
    done.sort();
    let mut expected: Vec<String> = [
        "sleep",
        "named",
        "ann",
        "ready",
        "failed",
        "later",
        "procedure",
        "done",
        "signal",
        "old",
        "paused",
        "paused ready",
        "seated",
        "child",
        "parent",
        "chain",
        "blocked",
        "scheduled",
    ]
    .iter()
    .flat_map(|id| [format!("{id} one"), format!("{id} two")])
    .collect();
    for others in [
        "row one",
        "row two",
        "row 2 one",
        "row 2 two",
        "undo one",
        "undo undo",
        "map a",
        "map b",
        "command command",
        "begin beside",
        "cache first",
        "stopped one",
        "named 2 one",
    ] {
        expected.push(others.to_owned());
    }
    expected.sort();
    assert_eq!(done, expected);
    assert_eq!(
        db.count("wf.workflows WHERE finished_at IS NULL AND id <> 'named 2'"),
        0
    );
}

/// Loads what is in `source`, a database of the present version, into `db` of an older one, as far as that has columns for it.
pub fn carry_over(cluster: &Cluster, source: &mut Client, db: &mut Client) {
    let [from, name]: [String; 2] = [&mut *source, &mut *db].map(|db| db.one("SELECT current_database()::text"));
    let dump = cluster.socket().join(format!("{name}.sql"));
    // The extension is there: its members are left as they are.
    check(
        cluster
            .tool("pg_dump", &from)
            .args(["--exclude-table-data=wf_internal.*", "-f"])
            .arg(&dump),
    );
    check(
        cluster
            .tool("psql", &name)
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(&dump),
    );
    let columns = "SELECT c.oid::regclass || ' (' || string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) || ')'
                   FROM pg_extension e JOIN pg_class c ON c.oid = ANY (e.extconfig) AND c.relkind = 'r'
                   JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                   WHERE e.extname = 'pg_workflow' GROUP BY c.oid";
    let file = cluster.socket().join(format!("{name}.copy"));
    for table in db.all::<String>(columns) {
        source.run(&format!("COPY {table} TO '{}'", file.display()));
        db.run(&format!("COPY {table} FROM '{}'", file.display()));
    }
    for sequence in db.all::<String>(
        "SELECT c.oid::regclass::text FROM pg_extension e JOIN pg_class c ON c.oid = ANY (e.extconfig) AND c.relkind = 'S'
         WHERE e.extname = 'pg_workflow'",
    ) {
        let last: Option<i64> = source.one(&format!("SELECT CASE WHEN is_called THEN last_value END FROM {sequence}"));
        db.run(&format!("SELECT setval('{sequence}', {})", last.map_or("1, false".to_owned(), |last| last.to_string())));
    }
    db.run(
        "DELETE FROM wf_internal.home;
         INSERT INTO wf_internal.home SELECT i.id, d.oid FROM wf_internal.installation i, pg_database d WHERE d.datname = current_database()",
    );
}
