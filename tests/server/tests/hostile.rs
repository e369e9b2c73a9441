//! Whatever is handed to the functions: an answer or an ERROR in Postgres' style, and the server goes on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

/// Values of each type as SQL expressions; the first makes sense.
fn values(type_name: &str) -> Vec<&'static str> {
    match type_name {
        "text" => vec![
            "'known'",
            "'echo'",
            "NULL",
            "''",
            "' '",
            r#"'a''b"c\d'"#,
            r"E'new\nline\r\ttab\x01\x7f'",
            r"U&'\202E\FEFF\00A0'",
            "'🏴‍☠️ 日本 ß'",
            "repeat('x', 100000)",
            "repeat('ß', 513)",
            "'%s%n%1$s%'",
            "'pg_temp.x'",
            "'pg_catalog.pg_sleep'",
            "'a.b.c.d.e'",
            r#"'"unterminated'"#,
            r#"'"; DROP TABLE t; --'"#,
            "'$$); SELECT 1/0; --$$ /*'",
            "'SELECT 1/0'",
            "'* * * * *'",
            "'every 0 seconds'",
            "'at 294277-01-01'",
            "'1e400'",
        ],
        "jsonb" => vec![
            "'{}'",
            "NULL",
            "'null'",
            "'[]'",
            r#"'"text"'"#,
            "'1e400'",
            "'[null, 1, \"x\", {}]'",
            "(repeat('[', 2000) || repeat(']', 2000))::jsonb",
            "(repeat('{\"a\":', 2000) || '1' || repeat('}', 2000))::jsonb",
            "(SELECT jsonb_object_agg(i, i) FROM generate_series(1, 500) i)",
            "to_jsonb(repeat('x', 100000))",
            r#"'{"": "", "a\"b\n": 1, "name": null, "\ud83c\udff4": {}}'"#,
            r#"'{"max_attempts": 1e400}'"#,
            r#"'{"first_delay": "178000000 years", "max_delay": "178000000 years", "backoff": 1000}'"#,
            r##"'{"$ref": "#"}'"##,
            r#"'{"x": {"result": 1e400, "fail": {"sqlstate": "00000"}}}'"#,
            r#"'[{"name": "go", "after": "178000000 years", "payload": null}]'"#,
        ],
        "integer" | "smallint" | "bigint" => vec!["1", "NULL", "0", "-1", "32767", "2147483647", "-2147483648"],
        "double precision" | "numeric" | "real" => vec!["1", "NULL", "0", "-1", "'NaN'", "'Infinity'", "'-Infinity'"],
        "boolean" => vec!["true", "false", "NULL"],
        "interval" => vec![
            "'1 s'",
            "NULL",
            "'0'",
            "'-1 s'",
            "'1 microsecond'",
            "'1 month -30 days'",
            "'178000000 years'",
            "'-178000000 years'",
            "'2147483647 months 2147483647 days'",
        ],
        "timestamp with time zone" => vec![
            "now()",
            "NULL",
            "'infinity'",
            "'-infinity'",
            "'294276-12-31 23:59:59+00'",
            "'4713-01-01 00:00:00+00 BC'",
        ],
        "uuid" => vec!["gen_random_uuid()", "NULL", "'00000000-0000-0000-0000-000000000000'"],
        "text[]" | "name[]" => vec![
            "'{known}'",
            "NULL",
            "'{}'",
            "ARRAY[NULL, '']::text[]",
            "'{{a},{b}}'",
            "array_fill('x'::text, '{10000}')",
        ],
        "integer[]" => vec!["'{1}'", "NULL", "'{}'", "'{NULL,-1}'", "array_fill(1, '{10000}')"],
        "regclass" => vec![
            "'t'",
            "NULL",
            "'pg_class'",
            "'wf_internal.runs'",
            "'wf.workflows'",
            "0",
            "4294967295",
        ],
        "regrole" | "oid" => vec!["10", "NULL", "0", "4294967295"],
        "regrole[]" => vec![
            "'{postgres}'",
            "NULL",
            "'{}'",
            "ARRAY[NULL]",
            "ARRAY[0, 4294967295]::oid[]",
        ],
        "regprocedure" | "regproc" => vec!["'echo(jsonb)'", "NULL", "0", "4294967295"],
        _ => vec!["NULL"],
    }
}

/// What no user may see.
fn is_internal(failure: &Failure) -> bool {
    let words = [
        "panick",
        "backtrace",
        "internal error",
        "unwrap",
        "RUST_",
        "src/",
        "(column ",
    ];
    let text = format!("{} {} {}", failure.message, failure.detail, failure.hint);
    failure.sqlstate.starts_with("XX") || failure.message.is_empty() || words.iter().any(|word| text.contains(word))
}

struct Function {
    name: String,
    types: Vec<String>,
    is_procedure: bool,
}

impl Function {
    fn call(&self, arguments: &[&str]) -> String {
        let typed = arguments
            .iter()
            .zip(&self.types)
            .map(|(value, name)| format!("({value})::{name}"));
        let typed = typed.collect::<Vec<_>>().join(", ");
        let verb = if self.is_procedure { "CALL" } else { "SELECT" };
        format!("{verb} {}({typed})", self.name)
    }

    /// Each argument with each value, the others making sense, or not: by chance, which is always the same.
    fn calls(&self, random: &mut Random) -> Vec<String> {
        let choices: Vec<_> = self.types.iter().map(|name| values(name)).collect();
        let mut calls = Vec::new();
        for (place, these) in choices.iter().enumerate() {
            for value in these {
                let mut arguments: Vec<&str> = choices
                    .iter()
                    .map(|all| match random.below(3) {
                        0 => all[random.below(all.len() as u64) as usize],
                        _ => all[0],
                    })
                    .collect();
                arguments[place] = value;
                calls.push(self.call(&arguments));
            }
        }
        if calls.is_empty() {
            calls.push(self.call(&[]));
        }
        calls
    }
}

fn functions(db: &mut Client) -> Vec<Function> {
    let rows = db
        .query(
            "SELECT p.oid::regproc::text,
                    ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a(t, n) ORDER BY n),
                    p.prokind = 'p'
             FROM pg_proc p
             JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
             JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_workflow'
             WHERE p.pronamespace <> 'wf_internal'::regnamespace AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
             ORDER BY p.oid::regprocedure::text",
            &[],
        )
        .expect("the catalogue");
    let rows = rows.iter().map(|row| Function {
        name: row.get(0),
        types: row.get(1),
        is_procedure: row.get(2),
    });
    rows.collect()
}

const FLOWS: &str = "
    CREATE TABLE t (a int);
    CREATE FUNCTION echo(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_set('seen', input);
        PERFORM wf_wait_signal('go');
        RETURN wf_step('same', 'SELECT $1', input)->0;
    END $$;
    CREATE FUNCTION runs(call text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE call; END $$;
    SELECT wf_start('echo', '{\"a\": 1}', id => 'known')";

/// Those of the inside, which are to be called in a workflow.
const INSIDE: [&str; 15] = [
    "wf_step",
    "wf_sleep",
    "wf_sleep_until",
    "wf_wait_signal",
    "wf_task",
    "wf_call",
    "wf_begin",
    "wf_await",
    "wf_map",
    "wf_set",
    "wf_emit",
    "wf_uuid",
    "wf_compensate",
    "wf_rollback",
    "wf_continue_as_new",
];

/// How a call is made.
enum Way {
    /// And taken back, so that each finds the same.
    Function,
    /// Which ends transactions.
    Procedure,
    /// By a workflow, whose error it becomes.
    Inside,
}

fn attempt(db: &mut Client, way: &Way, call: &str) -> Option<Failure> {
    match way {
        Way::Procedure => db.attempt(call).err(),
        Way::Function => {
            db.run("BEGIN");
            let outcome = db.attempt(call);
            db.run("ROLLBACK");
            outcome.err()
        }
        Way::Inside => {
            let test = "SELECT wf_test('runs', jsonb_build_object('call', $1::text), until => '1 hour', max_turns => 20)->'error'";
            match db.query_one(test, &[&call]) {
                Err(error) => Some(failure_of(&error)),
                Ok(row) => row.get::<_, Option<Value>>(0).map(|error| {
                    let field = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
                    Failure {
                        sqlstate: field("sqlstate"),
                        message: field("message"),
                        detail: field("detail"),
                        hint: field("hint"),
                    }
                }),
            }
        }
    }
}

/// `SEED` has other calls.
#[test]
fn every_function_with_every_value() {
    const LIMIT: Duration = Duration::from_secs(60);
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.waits_for("known", "signal");
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random = Random::seeded(seed.unwrap_or(20_261_126));
    let found = functions(&mut db);
    assert!(found.len() > 60, "{}", found.len());
    let mut calls = Vec::new();
    for function in &found {
        let way = || match function.is_procedure {
            true => Way::Procedure,
            false => Way::Function,
        };
        calls.extend(function.calls(&mut random).into_iter().map(|call| (way(), call)));
        if INSIDE.contains(&function.name.as_str()) && !function.is_procedure {
            calls.extend(function.calls(&mut random).into_iter().map(|call| (Way::Inside, call)));
        }
    }
    // In any order, so that each has its chance where time is short.
    for last in (1..calls.len()).rev() {
        calls.swap(last, random.below(last as u64 + 1) as usize);
    }
    // What waits is not waited for: any call may be cut short.
    db.run("SET statement_timeout = '100 ms'");
    let (begun, mut made, mut wrong) = (Instant::now(), 0, Vec::new());
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for (way, call) in &calls {
        if begun.elapsed() > LIMIT {
            break;
        }
        made += 1;
        if let Some(failure) = attempt(&mut db, way, call) {
            assert_ne!(
                failure.sqlstate,
                "08006",
                "the server has gone: {call}\n{}",
                cluster.log()
            );
            if is_internal(&failure) {
                wrong.push(format!("{call}\n    {failure:?}"));
            }
            *states.entry(failure.sqlstate).or_default() += 1;
        }
    }
    eprintln!("{made} of {} calls: {states:?}", calls.len());
    assert!(
        wrong.is_empty(),
        "{} internal errors:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    for bad in ["PANIC", "panicked", "was terminated by signal", "TRAP:"] {
        assert_eq!(cluster.logged(bad), 0, "{bad}");
    }
    // Ordinary work goes on.
    db.run("SET statement_timeout = '60 s'");
    db.run("SELECT wf_resume(); SELECT wf_signal('known', 'go')");
    assert_eq!(db.result("known"), json!({"a": 1}));
}

#[test]
fn texts_of_all_kinds_go_through() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(FLOWS);
    let texts = [
        "a'b\"c\\d",
        "new\nline\r\ttab\u{1}\u{7f}",
        "\u{202e}\u{feff}\u{a0}",
        "🏴\u{200d}☠\u{fe0f} 日本 e\u{301}",
        "$$ $1 %s /* -- ; DROP TABLE t",
        " ",
        &"ß".repeat(512),
    ];
    let start = db.prepare("SELECT wf_start('echo', $1, id => $2)").expect("prepared");
    let inputs: Vec<Value> = texts.iter().map(|text| json!({ *text: text, "id": text })).collect();
    for (text, input) in texts.iter().zip(&inputs) {
        db.query(&start, &[input, text]).expect("started");
    }
    // What only Postgres' JSON can hold goes through as it is.
    let wide = "'{\"n\": 1e400, \"deep\": ' || repeat('[', 500) || repeat(']', 500) || '}'";
    db.run(&format!("SELECT wf_start('echo', ({wide})::jsonb, id => 'wide')"));
    db.waits_for("wide", "signal");
    db.run("SELECT wf_pause('wide')");
    assert!(db.one::<bool>(&format!(
        "SELECT wf_get('wide')->'input' = ({wide})::jsonb AND wf_get('wide')->>'status' = 'paused'"
    )));
    db.run("SELECT wf_signal('wide', 'go')");
    assert!(db.one::<bool>(&format!(
        "SELECT wf_step('wide')->'status' IS NOT NULL AND wf_get('wide', 'seen') = ({wide})::jsonb"
    )));
    db.run("SELECT wf_resume('wide')");
    assert!(db.one::<bool>(&format!("SELECT wf_result('wide', '50 s') = ({wide})::jsonb")));
    db.run("SELECT wf_start('echo', id => 'by hand')");
    db.waits_for("by hand", "signal");
    db.run(&format!("SELECT wf_complete_step('by hand', 'go', ({wide})::jsonb)"));
    assert!(db.one::<bool>(&format!(
        "SELECT detail->'result' = ({wide})::jsonb FROM wf.actions WHERE action = 'complete_step'"
    )));
    // A function whose parameters get the keys does not look at what is in them.
    db.run("CREATE FUNCTION \"Größe\"(n numeric, \"a\"\"b\" jsonb DEFAULT '1') RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(n) $$");
    db.run("SELECT wf_start('\"Größe\"', '{\"n\": 1e400, \"a\\\"b\": {}}', id => 'keys')");
    assert!(db.one::<bool>("SELECT wf_result('keys', '50 s') = '1e400'::jsonb"));
    // What Rust has to look into says so.
    let failure = db.fails("SELECT wf_define('x', 'echo', '{\"priority\": 1e400}')");
    assert_eq!(
        (failure.sqlstate.as_str(), failure.message.as_str()),
        ("22023", "JSON value cannot be read")
    );
    assert!(
        failure.detail.contains("double precision") && !failure.hint.is_empty(),
        "{failure:?}"
    );
    let failure = db
        .fails("SELECT wf_define('x', 'echo', ('{\"retry\": ' || repeat('[', 500) || repeat(']', 500) || '}')::jsonb)");
    assert!(failure.detail.contains("127 levels"), "{failure:?}");

    for (text, input) in texts.iter().zip(&inputs) {
        db.query("SELECT wf_signal($1, 'go', $2, key => $1)", &[text, input])
            .expect("sent");
        let rows = db.query("SELECT wf_result($1, '50 s')", &[text]).expect("ended");
        assert_eq!(&rows[0].get::<_, Value>(0), input, "{text}");
    }
    // 100 MB: refused for their length, in a moment and without another copy of them in the message.
    for (call, sqlstate) in [
        ("wf_start('echo', id => {})", "54000"),
        ("wf_status({})", "42704"),
        ("wf_signal('known', {})", "54000"),
        ("wf_cancel('known', {})", "54000"),
        ("wf_schedule('s', {}, 'echo')", "54000"),
        ("wf_check({})", "42883"),
    ] {
        let failure = db.fails(&format!("SELECT {}", call.replace("{}", "repeat('x', 100000000)")));
        assert_eq!(failure.sqlstate, sqlstate, "{call}: {:.300}", failure.message);
        assert!(failure.message.len() < 3000, "{call}: {} bytes", failure.message.len());
    }
}

#[test]
fn other_encodings() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    // Texts are UTF-8 inside: another database is refused before anything is in it.
    for encoding in ["SQL_ASCII", "LATIN1", "EUC_JP"] {
        let name = encoding.to_lowercase();
        db.run(&format!(
            "CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        ));
        let mut other = cluster.connect(&name, "postgres");
        let failure = other.fails("CREATE EXTENSION pg_workflow");
        assert_eq!(failure.sqlstate, "0A000", "{failure:?}");
        assert!(
            failure.detail.contains(encoding) && failure.hint.contains("UTF8"),
            "{failure:?}"
        );
        assert_eq!(other.count("pg_namespace WHERE nspname LIKE 'wf%'"), 0);
    }
    // A client may speak what it likes.
    db.run(FLOWS);
    let script: &[u8] = b"CREATE FUNCTION caf\xe9(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT $1 $$;
        SELECT wf_start('caf\xe9', '{\"\xfc\": \"\xdf\"}', id => '\xe9t\xe9');
        SELECT wf_result('\xe9t\xe9', '50 s');
        SELECT wf_status('n\xe9ant');";
    let path = cluster.socket().join("latin1.sql");
    std::fs::write(&path, script).expect("written");
    let mut psql = program("psql");
    psql.env("PGCLIENTENCODING", "LATIN1")
        .args(["-XAtq", "-U", "postgres", "-h"]);
    let output = psql
        .arg(cluster.socket())
        .arg("-f")
        .arg(&path)
        .output()
        .expect("psql runs");
    assert!(output.stdout.ends_with(b"{\"\xfc\": \"\xdf\"}\n"), "{output:?}");
    let message = b"workflow instance \"n\xe9ant\" does not exist";
    assert!(
        output.stderr.windows(message.len()).any(|part| part == message),
        "{output:?}"
    );
    assert_eq!(db.result("été"), json!({"ü": "ß"}));
}
