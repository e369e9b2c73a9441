//! What a step is: retried by policy, limited in time, failing inside the workflow with its own error, in any language,
//! with a result of any type, and leaving nothing behind in its process.

use std::time::Duration;

use pg_workflow_server_tests::*;

fn flow(db: &mut Client, name: &str, body: &str) {
    db.run(&format!(
        "CREATE FUNCTION {name}(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $flow$ {body} $flow$"
    ));
}

fn start(db: &mut Client, workflow: &str) {
    db.run(&format!("SELECT wf_start('{workflow}', id => '{workflow}')"));
}

#[test]
fn retries_follow_the_policy() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    // Counts attempts by a sequence, and logs their times where a rollback cannot reach: in the server's log.
    db.run(
        "CREATE SEQUENCE a; CREATE SEQUENCE b; CREATE SEQUENCE c; CREATE SEQUENCE d;
         CREATE FUNCTION fails(counter regclass, until int, code text) RETURNS bigint LANGUAGE plpgsql AS $$
         DECLARE n bigint := nextval(counter);
         BEGIN
             RAISE LOG 'attempt % at %', counter, extract(epoch FROM clock_timestamp());
             IF n < until THEN RAISE 'attempt %', n USING ERRCODE = code; END IF;
             RETURN n;
         END $$",
    );
    flow(
        &mut db,
        "third",
        "BEGIN RETURN wf_step('s', 'fails', '{\"counter\": \"a\", \"until\": 4, \"code\": \"P0042\"}',
            retry => '{\"max_attempts\": 5, \"first_delay\": \"50 ms\", \"backoff\": 3, \"jitter\": 0}'); END",
    );
    start(&mut db, "third");
    assert_eq!(db.result("third"), json!(4));
    assert_eq!(db.one::<i32>("SELECT attempt FROM wf.steps WHERE id = 'third'"), 4);
    let log = cluster.log();
    let times: Vec<f64> = log
        .lines()
        .filter_map(|line| line.split_once("attempt a at ")?.1.trim().parse().ok())
        .collect();
    assert_eq!(times.len(), 4);
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, least) in gaps.iter().zip([0.05, 0.15, 0.45]) {
        assert!(*gap >= least && *gap < least + 1.0, "{gaps:?}");
    }

    flow(
        &mut db,
        "gives_up",
        "BEGIN RETURN wf_step('s', 'fails', '{\"counter\": \"b\", \"until\": 99, \"code\": \"P0042\"}',
            retry => '{\"max_attempts\": 3, \"first_delay\": \"1 ms\"}'); END",
    );
    start(&mut db, "gives_up");
    let failure = db.failure("gives_up");
    assert_eq!(
        (failure.sqlstate.as_str(), failure.message.as_str()),
        ("P0042", "attempt 3")
    );
    assert_eq!(db.one::<i64>("SELECT last_value FROM b"), 3);

    flow(
        &mut db,
        "never",
        "BEGIN RETURN wf_step('s', 'fails', '{\"counter\": \"c\", \"until\": 99, \"code\": \"P0042\"}',
            retry => '{\"first_delay\": \"1 ms\", \"no_retry_on\": [\"P00*\"]}'); END",
    );
    start(&mut db, "never");
    assert_eq!(db.failure("never").message, "attempt 1");
    // Without a policy: transient errors are retried, others not.
    flow(
        &mut db,
        "plain",
        "BEGIN RETURN wf_step('s', 'fails', '{\"counter\": \"d\", \"until\": 99, \"code\": \"22012\"}'); END",
    );
    start(&mut db, "plain");
    assert_eq!(db.failure("plain").sqlstate, "22012");
    assert_eq!(db.one::<i64>("SELECT c.last_value * 10 + d.last_value FROM c, d"), 11);
    flow(
        &mut db,
        "transient",
        "BEGIN RETURN wf_step('s', 'fails', '{\"counter\": \"d\", \"until\": 3, \"code\": \"40001\"}'); END",
    );
    start(&mut db, "transient");
    assert_eq!(db.result("transient"), json!(3));
    assert_eq!(db.count("wf_internal.timers"), 0);
}

#[test]
fn a_step_and_a_run_have_their_timeouts() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run("CREATE SEQUENCE tries");
    flow(
        &mut db,
        "slow_step",
        "DECLARE caught text;
         BEGIN
             BEGIN
                 PERFORM wf_step('nap', 'SELECT nextval(''tries''), pg_sleep(30)', timeout => '200 ms',
                                 retry => '{\"max_attempts\": 2, \"first_delay\": \"10 ms\"}');
             EXCEPTION WHEN SQLSTATE 'WF004' THEN GET STACKED DIAGNOSTICS caught = MESSAGE_TEXT;
             END;
             RETURN to_jsonb(caught);
         END",
    );
    start(&mut db, "slow_step");
    assert_eq!(
        db.result("slow_step"),
        json!("step \"nap\" did not end within its timeout")
    );
    assert_eq!(
        db.all::<i32>("SELECT attempt FROM wf.steps WHERE id = 'slow_step'"),
        [2]
    );
    assert_eq!(
        db.all::<String>("SELECT sqlstate FROM wf.steps WHERE id = 'slow_step'"),
        ["WF004"]
    );

    flow(
        &mut db,
        "slow_run",
        "BEGIN PERFORM wf_step('nap', 'SELECT pg_sleep(30)'); RETURN '1'; END",
    );
    flow(
        &mut db,
        "slow_wait",
        "BEGIN PERFORM wf_wait_signal('never'); RETURN '1'; END",
    );
    flow(&mut db, "slow_code", "BEGIN PERFORM pg_sleep(30); RETURN '1'; END");
    flow(
        &mut db,
        "no_catch",
        "BEGIN LOOP BEGIN PERFORM wf_step('nap', 'SELECT pg_sleep(30)'); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END",
    );
    for workflow in ["slow_run", "slow_wait", "slow_code", "no_catch"] {
        db.run(&format!(
            "SELECT wf_start('{workflow}', id => '{workflow}', timeout => '400 ms')"
        ));
        let begun = std::time::Instant::now();
        assert_eq!(db.failure(workflow).sqlstate, "WF003", "{workflow}");
        assert!(
            begun.elapsed() < Duration::from_secs(4),
            "{workflow} {:?}",
            begun.elapsed()
        );
        assert_eq!(db.status(workflow), "failed");
    }
    eventually(SOON, "no timer is left", || db.count("wf_internal.timers") == 0);
    // One that ends in time leaves no timer either.
    db.run("SELECT wf_start('slow_step', id => 'in time', timeout => '1 hour')");
    db.result("in time");
    assert_eq!(db.count("wf_internal.timers"), 0);
}

#[test]
fn handlers_of_the_user_stay_intact() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run("CREATE TABLE log (id bigserial, what text)");
    flow(
        &mut db,
        "catches",
        "DECLARE said text[] := '{}'; code text; i int;
         BEGIN
             FOR i IN 1..4 LOOP
                 BEGIN
                     BEGIN
                         PERFORM wf_step('log', 'INSERT INTO log (what) VALUES ($1->>''i'')', jsonb_build_object('i', i));
                         PERFORM wf_sleep('20 ms');
                         IF i % 2 = 0 THEN
                             PERFORM wf_step('bad', $$ DO 'BEGIN INSERT INTO log (what) VALUES (''lost''); RAISE ''own'' USING ERRCODE = ''P0042''; END' $$);
                         ELSE
                             PERFORM wf_step('div', 'SELECT 1/0');
                         END IF;
                     EXCEPTION WHEN SQLSTATE 'P0042' THEN
                         said := said || ('P0042 ' || SQLERRM);
                         PERFORM wf_wait_signal('never', timeout => '20 ms');
                         PERFORM wf_step('log', 'INSERT INTO log (what) VALUES (''undo'')');
                     END;
                 EXCEPTION WHEN OTHERS THEN
                     GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
                     said := said || ('others ' || code);
                 END;
             END LOOP;
             RETURN to_jsonb(said);
         END",
    );
    start(&mut db, "catches");
    assert_eq!(
        db.result("catches"),
        json!(["others 22012", "P0042 own", "others 22012", "P0042 own"])
    );
    assert_eq!(
        db.all::<String>("SELECT what FROM log ORDER BY id"),
        ["1", "2", "undo", "3", "4", "undo"]
    );
    // Uncaught, it ends the run with its own code.
    flow(
        &mut db,
        "bare",
        "BEGIN PERFORM wf_step('bad', $$ DO 'BEGIN RAISE ''own'' USING ERRCODE = ''P0042'', DETAIL = ''d'', HINT = ''h''; END' $$); RETURN '1'; END",
    );
    start(&mut db, "bare");
    let failure = db.failure("bare");
    assert_eq!(
        failure,
        Failure {
            sqlstate: "P0042".into(),
            message: "own".into(),
            detail: "d".into(),
            hint: "h".into()
        }
    );
}

#[test]
fn what_fails_at_the_commit_fails_the_step() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE SEQUENCE tries;
            CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
    );
    flow(
        &mut db,
        "orphan",
        "BEGIN
             PERFORM wf_step('good', 'INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1)');
             PERFORM wf_step('bad', 'SELECT nextval(''tries''); INSERT INTO child VALUES (2)');
             RETURN '1';
         END",
    );
    flow(
        &mut db,
        "forgives",
        "BEGIN
             BEGIN PERFORM wf_step('bad', 'INSERT INTO child VALUES (3)');
             EXCEPTION WHEN foreign_key_violation THEN
                 RETURN wf_step('good', 'INSERT INTO parent VALUES (3); INSERT INTO child VALUES (3)');
             END;
             RETURN '\"no error\"';
         END",
    );
    start(&mut db, "orphan");
    assert_eq!(db.failure("orphan").sqlstate, "23503");
    assert_eq!(
        db.all::<String>("SELECT status FROM wf.steps WHERE id = 'orphan' ORDER BY n"),
        ["completed", "failed"]
    );
    start(&mut db, "forgives");
    assert_eq!(db.result("forgives"), json!(1));
    assert_eq!(db.all::<i32>("SELECT id FROM child ORDER BY id"), [1, 3]);
    assert!(db.one::<i64>("SELECT last_value FROM tries") <= 4);
    // Among neighbours in one batch only the culprit fails.
    flow(
        &mut db,
        "fine",
        "BEGIN RETURN wf_step('s', 'INSERT INTO parent VALUES (($1->>''i'')::int)', input); END",
    );
    db.run("SELECT wf_start('fine', jsonb_build_object('i', i), id => 'i-' || i) FROM generate_series(100, 199) i");
    flow(
        &mut db,
        "lonely",
        "BEGIN RETURN wf_step('s', 'INSERT INTO child VALUES (($1->>''i'')::int)', input); END",
    );
    db.run(
        "SELECT wf_start(CASE WHEN i % 10 = 0 THEN 'lonely' ELSE 'fine' END, jsonb_build_object('i', i), id => 'i-' || i)
         FROM generate_series(200, 299) i",
    );
    eventually(SOON, "all end", || {
        db.count("wf.workflows WHERE finished_at IS NULL") == 0
    });
    assert_eq!(
        db.count("wf.workflows WHERE id LIKE 'i-%' AND status = 'completed'"),
        190
    );
    assert_eq!(
        db.count("wf.workflows WHERE workflow = 'lonely' AND sqlstate = '23503'"),
        10
    );
    assert_eq!(db.count("parent WHERE id >= 100"), 190);
}

#[test]
fn a_chain_of_a_thousand_steps() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run("CREATE TABLE links (n int)");
    flow(
        &mut db,
        "chain",
        "DECLARE sum bigint := 0;
         BEGIN
             FOR i IN 1..1000 LOOP
                 sum := sum + (wf_step('link', 'INSERT INTO links VALUES (($1->>''i'')::int) RETURNING n', jsonb_build_object('i', i))->>0)::bigint;
             END LOOP;
             RETURN to_jsonb(sum);
         END",
    );
    start(&mut db, "chain");
    let begun = std::time::Instant::now();
    assert_eq!(db.result("chain"), json!(500_500));
    eprintln!("1000 steps: {:?}", begun.elapsed());
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT n) FROM links"), 1000);
    assert_eq!(db.count("links"), 1000);
    assert_eq!(
        db.one::<i32>("SELECT max(occurrence) FROM wf.steps WHERE id = 'chain'"),
        1000
    );
}

/// Perl's eval catches the engine's interruption of slow code like any error: what comes of it then is not to be trusted.
#[test]
fn an_interruption_that_was_swallowed_leaves_no_trace() {
    let cluster = Cluster::new();
    if cluster.lacks("plperlu") {
        return;
    }
    let mut db = cluster.admin();
    db.run("CREATE EXTENSION plperlu");
    db.run(
        r#"CREATE FUNCTION drowsy(input jsonb) RETURNS jsonb LANGUAGE plperlu AS $$
eval { spi_exec_query("SELECT pg_sleep(0.1)") };
my $r = $@ ? '"interrupted"' : '"slept"';
spi_exec_query("SELECT wf_step('one', 'SELECT 1')") if $@;
return $r;
$$"#,
    );
    start(&mut db, "drowsy");
    assert_eq!(db.result("drowsy"), json!("slept"));
    assert_eq!(db.count("wf_internal.steps"), 0);
}

#[test]
fn workflows_in_other_languages() {
    let cluster = Cluster::new();
    if cluster.lacks("plpython3u") || cluster.lacks("plperlu") {
        return;
    }
    let mut db = cluster.admin();
    db.run("CREATE EXTENSION plpython3u; CREATE EXTENSION plperlu; CREATE TABLE log (what text)");
    db.run(
        r#"CREATE FUNCTION snake(input jsonb) RETURNS jsonb LANGUAGE plpython3u AS $$
import json
caught = []
try:
    one = plpy.execute("SELECT wf_step('one', 'INSERT INTO log VALUES (''snake 1'')') AS r")[0]["r"]
    plpy.execute("SELECT wf_sleep('50 ms')")
    got = plpy.execute("SELECT wf_wait_signal('go') AS r")[0]["r"]
except:
    return json.dumps("swallowed a wait")
try:
    plpy.execute("SELECT wf_step('bad', 'SELECT 1/0')")
except Exception as e:
    caught.append(e.sqlstate)
for i in range(3):
    try:
        plpy.execute("SELECT wf_step('log', 'INSERT INTO log VALUES (''snake'')')")
    except BaseException:
        pass
return json.dumps({"one": json.loads(one), "got": json.loads(got), "caught": caught})
$$"#,
    );
    db.run(
        r#"CREATE FUNCTION camel(input jsonb) RETURNS jsonb LANGUAGE plperlu AS $$
my $r = eval { spi_exec_query("SELECT wf_step('one', 'INSERT INTO log VALUES (''camel 1'')') AS r")->{rows}[0]{r} };
eval { spi_exec_query("SELECT wf_sleep('50 ms')") };
my $got = eval { spi_exec_query("SELECT wf_wait_signal('go') AS r")->{rows}[0]{r} };
eval { spi_exec_query("SELECT wf_step('bad', 'SELECT 1/0')") };
my $caught = $@ =~ /division by zero/ ? 'true' : 'false';
for my $i (1..3) { eval { spi_exec_query("SELECT wf_step('log', 'INSERT INTO log VALUES (''camel'')')") }; }
return "{\"one\": $r, \"got\": $got, \"caught\": $caught}";
$$"#,
    );
    db.run(
        "CREATE FUNCTION plain(input jsonb) RETURNS jsonb LANGUAGE sql AS $$
             SELECT wf_step('one', 'INSERT INTO log VALUES (''plain 1'')');
             SELECT wf_sleep('50 ms');
             SELECT wf_wait_signal('go');
             SELECT to_jsonb(x) FROM (SELECT wf_step('last', 'SELECT ''end''') AS last) x;
         $$",
    );
    for workflow in ["snake", "camel", "plain"] {
        start(&mut db, workflow);
        db.run(&format!("SELECT wf_signal('{workflow}', 'go', '7')"));
    }
    assert_eq!(db.result("snake"), json!({"one": 1, "got": 7, "caught": ["22012"]}));
    assert_eq!(db.result("camel"), json!({"one": 1, "got": 7, "caught": true}));
    assert_eq!(db.result("plain"), json!({"last": ["end"]}));
    let log: Vec<String> = db.all("SELECT what || ' x' || count(*) FROM log GROUP BY what ORDER BY what");
    assert_eq!(log, ["camel x3", "camel 1 x1", "plain 1 x1", "snake x3", "snake 1 x1"]);
}

/// Expressions of every type; a step's result is the same as to_jsonb's.
const VALUES: &[&str] = &[
    "1::int2",
    "1::int4",
    "9223372036854775807::int8",
    "1.50::numeric",
    "'NaN'::numeric",
    "'Infinity'::numeric",
    "'-Infinity'::numeric",
    "1.5::float4",
    "'NaN'::float8",
    "'Infinity'::float8",
    "1e300::float8",
    "true",
    "NULL::bool",
    "'it''s \"quoted\" \\ \u{fc}\u{1F600}'::text",
    "''::text",
    "'v'::varchar(3)",
    "'c'::char(5)",
    "'x'::\"char\"",
    "'n'::name",
    "'\\x00ff'::bytea",
    "'2026-01-02'::date",
    "'infinity'::date",
    "'4713-01-01 BC'::date",
    "'12:34:56.789'::time",
    "'12:34:56+02'::timetz",
    "'2026-01-02 03:04:05'::timestamp",
    "'2026-01-02 03:04:05+00'::timestamptz",
    "'infinity'::timestamptz",
    "'-infinity'::timestamp",
    "'1 mon 2 days 03:04:05'::interval",
    "'-1 day'::interval",
    "ARRAY[1,2,NULL]::int[]",
    "'{}'::int[]",
    "ARRAY[[1,2],[3,4]]",
    "ARRAY['a','b']::text[]",
    "'[5:6]={1,2}'::int[]",
    "int4range(1,5)",
    "'empty'::int4range",
    "numrange(NULL, 1.5)",
    "tstzrange('2026-01-01','infinity')",
    "'[2026-01-01,)'::daterange",
    "'{[1,3),[5,7)}'::int4multirange",
    "'192.168.0.1/24'::inet",
    "'10.0.0.0/8'::cidr",
    "'08:00:2b:01:02:03'::macaddr",
    "'08:00:2b:01:02:03:04:05'::macaddr8",
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
    "'{\"a\": [1, null]}'::json",
    "'{\"b\": 1, \"a\": 2}'::jsonb",
    "'null'::jsonb",
    "'\"text\"'::jsonb",
    "'<a>1</a>'::xml",
    "'$.a[*]'::jsonpath",
    "point(1,2)",
    "'[(0,0),(1,1)]'::lseg",
    "'((0,0),(1,1))'::path",
    "'(1,1),(0,0)'::box",
    "'((0,0),(1,1),(2,0))'::polygon",
    "'<(0,0),1>'::circle",
    "'{1,2,3}'::line",
    "B'101'",
    "B'101'::varbit",
    "12.34::money",
    "1::oid",
    "'pg_class'::regclass",
    "'now'::regproc",
    "'now()'::regprocedure",
    "'integer'::regtype",
    "'postgres'::regrole",
    "'pg_catalog'::regnamespace",
    "'simple'::regconfig",
    "to_tsvector('simple', 'a b')",
    "'a & b'::tsquery",
    "'0/1'::pg_lsn",
    "'(0,1)'::tid",
    "'1'::xid",
    "'1'::cid",
    "'1'::xid8",
    "'10:20:10'::pg_snapshot",
    "ROW(1, 'a', NULL)",
    "(1, 2)::pair",
    "ARRAY[(1,2)::pair, NULL]",
    "'happy'::mood",
    "ARRAY['happy']::mood[]",
    "5::positive",
    "ARRAY[5]::positive[]",
    "pg_sleep(0)",
    "NULL",
    "'unknown'",
    "ARRAY[ROW(1,2)]",
    "current_setting('server_version_num') > '1'",
    "'1'::int2vector",
    "'1 2'::oidvector",
    "ARRAY['infinity'::timestamptz]",
    "ARRAY['1 day'::interval]",
];

#[test]
fn results_of_every_type() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE TYPE pair AS (a int, b int); CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
         CREATE TABLE done (what text)",
    );
    flow(
        &mut db,
        "types",
        "DECLARE e text; answers jsonb := '{}';
         BEGIN
             FOR e IN SELECT jsonb_array_elements_text(input) LOOP
                 answers := answers || jsonb_build_object(e, wf_step('v', 'SELECT ' || e));
             END LOOP;
             RETURN answers;
         END",
    );
    // A server may have been built without libxml.
    let has_xml = db.attempt("SELECT '<a/>'::xml").is_ok();
    for expression in VALUES {
        if expression.ends_with("::xml") && !has_xml {
            continue;
        }
        let quoted = json!([expression]).to_string().replace('\'', "''");
        let id: String = db.one(&format!("SELECT wf_start('types', '{quoted}')"));
        let expected: Value = match *expression {
            "pg_sleep(0)" | "NULL" => json!([null]),
            _ => db.one(&format!("SELECT jsonb_build_array({expression})")),
        };
        let result = db.query_one(&format!("SELECT wf_result('{id}', '30 s')"), &[]);
        let result: Value = result
            .unwrap_or_else(|error| panic!("{expression}: {:?}", failure_of(&error)))
            .get(0);
        assert_eq!(result[expression], expected, "{expression}");
    }
}

#[test]
fn results_of_every_form() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE TABLE t (a int, b text);
         CREATE TYPE pair AS (a int, b int);
         CREATE FUNCTION f_set() RETURNS SETOF int LANGUAGE sql AS 'SELECT generate_series(1, 3)';
         CREATE FUNCTION f_empty() RETURNS SETOF int LANGUAGE sql AS 'SELECT 1 WHERE false';
         CREATE FUNCTION f_table() RETURNS TABLE (a int, b text) LANGUAGE sql AS $$ VALUES (1, 'x'), (2, 'y') $$;
         CREATE FUNCTION f_setrec() RETURNS SETOF t LANGUAGE sql AS $$ SELECT 1, 'x' $$;
         CREATE FUNCTION f_out(n int, OUT a int, OUT b text) LANGUAGE sql AS $$ SELECT n, 'o' $$;
         CREATE FUNCTION f_void() RETURNS void LANGUAGE sql AS $$ INSERT INTO t VALUES (0, 'void') $$;
         CREATE FUNCTION f_null() RETURNS int LANGUAGE sql AS 'SELECT NULL::int';
         CREATE FUNCTION f_cursor() RETURNS refcursor LANGUAGE plpgsql AS $$ DECLARE c refcursor := 'cur'; BEGIN OPEN c FOR SELECT 1; RETURN c; END $$;
         CREATE FUNCTION f_args(a int, b text DEFAULT 'd', c date DEFAULT NULL) RETURNS text LANGUAGE sql AS $$ SELECT concat_ws(',', a, b, c) $$;
         CREATE FUNCTION f_variadic(VARIADIC n int[]) RETURNS int LANGUAGE sql AS 'SELECT sum(x)::int FROM unnest(n) x';
         CREATE FUNCTION f_pair(p pair) RETURNS pair LANGUAGE sql AS 'SELECT (p.b, p.a)::pair';
         CREATE PROCEDURE p_in(a int) LANGUAGE sql AS $$ INSERT INTO t VALUES (a, 'proc') $$;
         CREATE PROCEDURE p_inout(input jsonb, INOUT result jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$ BEGIN result := input || '{\"seen\": true}'; END $$;
         CREATE PROCEDURE p_commits() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t VALUES (1, 'commit'); COMMIT; END $$;",
    );
    flow(
        &mut db,
        "run",
        "BEGIN RETURN wf_step('s', input->>'target', coalesce(input->'input', '{}')); END",
    );
    let mut run = |target: &str, input: Value| -> Result<Value, Failure> {
        let arg = json!({"target": target, "input": input})
            .to_string()
            .replace('\'', "''");
        let id: String = db.one(&format!("SELECT wf_start('run', '{arg}')"));
        match db.query_one(&format!("SELECT wf_result('{id}', '30 s')"), &[]) {
            Ok(row) => Ok(row.get::<_, Option<Value>>(0).unwrap_or(Value::Null)),
            Err(error) => Err(failure_of(&error)),
        }
    };
    let none = || json!({});
    for (target, input, expected) in [
        ("f_set", none(), json!([1, 2, 3])),
        ("f_empty", none(), json!([])),
        ("f_table", none(), json!([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}])),
        ("f_setrec", none(), json!([{"a": 1, "b": "x"}])),
        ("f_out", json!({"n": 5}), json!({"a": 5, "b": "o"})),
        ("f_void", none(), Value::Null),
        ("f_null", none(), Value::Null),
        ("f_cursor", none(), json!("cur")),
        ("f_args", json!({"a": 1}), json!("1,d")),
        (
            "public.f_args",
            json!({"a": 1, "c": "2026-01-02", "b": null}),
            json!("1,2026-01-02"),
        ),
        ("f_variadic", json!({"n": [1, 2, 3]}), json!(6)),
        ("f_pair", json!({"p": {"a": 1, "b": 2}}), json!({"a": 2, "b": 1})),
        ("p_in", json!({"a": 9}), Value::Null),
        ("p_inout", json!({"x": 1}), json!({"result": {"x": 1, "seen": true}})),
        ("INSERT INTO t VALUES (3, 'sql'), (4, 'sql')", none(), json!(2)),
        ("UPDATE t SET b = 'u' WHERE b = 'sql'", none(), json!(2)),
        ("DELETE FROM t WHERE b = 'nothing'", none(), json!(0)),
        (
            "DELETE FROM t WHERE b = 'u' RETURNING a, b",
            none(),
            json!([{"a": 3, "b": "u"}, {"a": 4, "b": "u"}]),
        ),
        ("SELECT 1, 2 WHERE false", none(), json!([])),
        ("SELECT $1->'x'", json!({"x": [1]}), json!([[1]])),
        ("CREATE TABLE made (i int)", none(), Value::Null),
        (
            "CREATE TABLE made2 (i int); INSERT INTO made2 VALUES (1); SELECT * FROM made2",
            none(),
            json!([1]),
        ),
    ] {
        let got = run(target, input).unwrap_or_else(|failure| panic!("{target}: {failure:?}"));
        if target == "p_inout" {
            // One INOUT parameter: its value, or an object of the parameters.
            assert!(got == expected || got == expected["result"], "{got}");
            continue;
        }
        assert_eq!(got, expected, "{target}");
    }
    for (target, sqlstates) in [
        ("p_commits", &["2D000", "0A000"][..]),
        ("COMMIT", &["2D000", "0A000", "42883"]),
        ("COMMIT;", &["2D000", "0A000"]),
        ("ROLLBACK; SELECT 1", &["2D000", "0A000"]),
        ("SAVEPOINT s; SELECT 1", &["2D000", "0A000"]),
        ("SELEKT 1", &["42601"]),
        ("nothing_there", &["42883"]),
        ("VACUUM t", &["25001", "0A000"]),
        ("COPY t TO STDOUT", &["0A000"]),
    ] {
        let failure = run(target, none()).expect_err(target);
        assert!(sqlstates.contains(&failure.sqlstate.as_str()), "{target}: {failure:?}");
    }
    assert_eq!(db.all::<String>("SELECT b FROM t ORDER BY b"), ["proc", "void"]);
    assert_eq!(cluster.logged("PANIC") + cluster.logged("terminated by signal"), 0);
}

#[test]
fn a_deadlock_between_two_instances_is_retried() {
    let cluster = Cluster::with(&["deadlock_timeout = 100ms"]);
    let mut db = cluster.admin();
    db.run("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)");
    flow(
        &mut db,
        "locks",
        "DECLARE a int := (input->>'a')::int;
         BEGIN
             PERFORM wf_step('first', 'UPDATE t SET n = n + 1 WHERE id = ($1->>''a'')::int', input);
             PERFORM wf_step('second', 'UPDATE t SET n = n + 1 WHERE id = 3 - ($1->>''a'')::int', input);
             -- Both in one step, the classic.
             PERFORM wf_step('both', 'UPDATE t SET n = n + 1 WHERE id = ($1->>''a'')::int; SELECT pg_sleep(0.002);
                                      UPDATE t SET n = n + 1 WHERE id = 3 - ($1->>''a'')::int', input,
                             retry => '{\"max_attempts\": 0, \"first_delay\": \"5 ms\", \"retry_on\": [\"40*\"]}');
             RETURN '1';
         END",
    );
    db.run(
        "SELECT wf_start('locks', jsonb_build_object('a', 1 + i % 2), id => 'd-' || i) FROM generate_series(1, 100) i",
    );
    eventually(Duration::from_secs(60), "all end", || {
        db.count("wf.workflows WHERE finished_at IS NULL") == 0
    });
    assert_eq!(db.count("wf.workflows WHERE status = 'completed'"), 100);
    assert_eq!(db.all::<i32>("SELECT n FROM t ORDER BY id"), [200, 200]);
}

#[test]
fn a_step_leaves_nothing_in_its_process() {
    let cluster = Cluster::with(&["pg_workflow.max_executors = 1"]);
    let mut db = cluster.admin();
    db.run("CREATE ROLE other; CREATE TABLE seen (id text, path text, work_mem text, role text, own text)");
    flow(
        &mut db,
        "sets",
        "BEGIN
             PERFORM wf_step('set', $$ SELECT set_config('work_mem', '77MB', false), set_config('my.own', 'leak', false),
                                              set_config('search_path', 'pg_catalog', false) $$);
             PERFORM wf_step('role', 'SET ROLE other');
             PERFORM wf_step('session', $$ SET SESSION statement_timeout = '1ms' $$);
             PERFORM wf_step('temp', 'CREATE TEMP TABLE leak (i int) ON COMMIT DROP');
             PERFORM wf_step('see', 'INSERT INTO public.seen SELECT ''same'', current_setting(''search_path''), current_setting(''work_mem''),
                                     current_user, current_setting(''my.own'', true)');
             RETURN to_jsonb(current_user::text || ' ' || current_setting('work_mem'));
         END",
    );
    flow(
        &mut db,
        "sees",
        "BEGIN
             PERFORM wf_step('see', 'INSERT INTO public.seen SELECT ''next'', current_setting(''search_path''), current_setting(''work_mem''),
                                     current_user, current_setting(''my.own'', true)');
             RETURN wf_step('sleep', 'SELECT pg_sleep(0.01)');
         END",
    );
    start(&mut db, "sets");
    assert_eq!(db.result("sets"), json!("postgres 4MB"));
    start(&mut db, "sees");
    assert_eq!(db.result("sees"), json!([null]));
    let rows: Vec<String> = db.all("SELECT concat_ws('|', id, path, work_mem, role, own) FROM seen ORDER BY id");
    assert_eq!(rows.len(), 2);
    for row in rows {
        // A custom setting that was never known stays known, and empty.
        let row = row.trim_end_matches('|').to_owned();
        assert!(row.ends_with("|\"$user\", public|4MB|postgres"), "{row}");
    }
    eventually(SOON, "no temporary table", || {
        db.count("pg_class WHERE relname = 'leak'") == 0
    });
    // One without ON COMMIT DROP may stay, but is of this role's process only.
    let executors = db.count("pg_stat_activity WHERE backend_type = 'pg_workflow executor'");
    assert_eq!(executors, 1);
}

#[test]
fn a_failed_commit_by_hand_is_the_failure_of_its_step() {
    let cluster = Cluster::bare(&[]);
    let mut db = cluster.admin();
    db.run(
        "CREATE EXTENSION pg_workflow; CREATE TABLE parent (id int PRIMARY KEY);
         CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
    );
    flow(
        &mut db,
        "orphan",
        "BEGIN
             PERFORM wf_step('good', 'INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1)');
             PERFORM wf_step('bad', 'INSERT INTO child VALUES (2)');
             RETURN '1';
         END",
    );
    flow(
        &mut db,
        "fine",
        "BEGIN RETURN wf_step('s', 'INSERT INTO parent VALUES (5)'); END",
    );
    start(&mut db, "orphan");
    start(&mut db, "fine");
    db.run("CALL wf_run_pending()");
    assert_eq!(db.failure("orphan").sqlstate, "23503");
    assert_eq!(
        db.all::<String>("SELECT name || ' ' || status FROM wf.steps WHERE id = 'orphan' ORDER BY n"),
        ["good completed", "bad failed"]
    );
    assert_eq!(db.result("fine"), json!(1));
}
