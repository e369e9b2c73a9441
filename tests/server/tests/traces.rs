//! A trace context goes from the start to whatever an instance does; an instance is exported as spans.

use std::collections::HashMap;

use pg_workflow_server_tests::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

const FLOWS: &str = "
    CREATE TABLE seen (what text, trace text);
    CREATE FUNCTION look(what text) RETURNS void LANGUAGE sql AS $$
        INSERT INTO seen VALUES (what, current_setting('pg_workflow.traceparent', true)) $$;
    CREATE FUNCTION below(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN RETURN wf_step('look', 'look', '{\"what\": \"child\"}'); END $$;
    CREATE FUNCTION fails() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'about to fail'; RAISE 'no'; END $$;
    CREATE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('look', 'look', '{\"what\": \"step\"}');
        PERFORM wf_step('look', 'look', '{\"what\": \"again\"}');
        PERFORM wf_call('call', 'below', '{}');
        PERFORM wf_map('each', 'SELECT $1', '[1, 2]');
        PERFORM wf_sleep('10 ms');
        PERFORM wf_task('it', 'q');
        PERFORM wf_step('start', $q$ SELECT wf_start('below', id => 'started') $q$);
        BEGIN
            PERFORM wf_step('fails', 'fails', retry => '{\"max_attempts\": 2, \"first_delay\": \"1 ms\"}');
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
        PERFORM wf_set('value', '1');
        RETURN wf_wait_signal('end');
    END $$;
    CREATE PROCEDURE in_place(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
    BEGIN
        FOR i IN 1..3 LOOP CALL wf_step('look', 'look', jsonb_build_object('what', 'in place ' || i), result); END LOOP;
    END $$;";

/// Spans of an instance, checked for what the format wants of each.
fn spans(db: &mut Client, id: &str) -> Vec<Value> {
    let document: Value = db.one(&format!("SELECT wf_otlp('{id}')"));
    let resources = document["resourceSpans"].as_array().unwrap();
    assert_eq!(resources.len(), 1);
    assert_eq!(resources[0]["resource"]["attributes"][0]["key"], "service.name");
    let scopes = resources[0]["scopeSpans"].as_array().unwrap();
    assert_eq!(scopes[0]["scope"]["name"], "pg_workflow");
    let spans = scopes[0]["spans"].as_array().unwrap().clone();
    let hex = |value: &Value, length| {
        let text = value.as_str().unwrap();
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let mut seen = HashMap::new();
    for span in &spans {
        assert!(hex(&span["traceId"], 32) && hex(&span["spanId"], 16), "{span}");
        assert!(span["parentSpanId"] == "" || hex(&span["parentSpanId"], 16), "{span}");
        // 64-bit numbers are text in OTLP's JSON; enumerations are numbers.
        let nanos = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
        let (start, end) = (nanos("startTimeUnixNano"), nanos("endTimeUnixNano"));
        assert!(start <= end && start > 1_500_000_000_000_000_000, "{span}");
        assert_eq!(span["kind"], 1);
        for attribute in span["attributes"].as_array().unwrap() {
            let value = attribute["value"].as_object().unwrap();
            assert!(attribute["key"].is_string() && value.len() == 1, "{span}");
            assert!(
                value
                    .iter()
                    .all(|(kind, v)| ["stringValue", "intValue"].contains(&kind.as_str()) && v.is_string())
            );
        }
        assert!(seen.insert(span["spanId"].to_string(), ()).is_none(), "twice: {span}");
    }
    spans
}

fn named<'a>(spans: &'a [Value], name: &str) -> Vec<&'a Value> {
    spans.iter().filter(|span| span["name"] == name).collect()
}

fn attribute(span: &Value, key: &str) -> String {
    let found = span["attributes"].as_array().unwrap().iter().find(|a| a["key"] == key);
    let value = &found.unwrap_or_else(|| panic!("{key}: {span}"))["value"];
    let text = value.as_object().unwrap().values().next().unwrap();
    text.as_str().unwrap().to_owned()
}

#[test]
fn a_trace_goes_through_all_that_an_instance_does() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(FLOWS);
    db.run(&format!(
        "BEGIN; SET LOCAL pg_workflow.traceparent = '{PARENT}'; SELECT wf_start('flow', id => 'f'); COMMIT"
    ));
    let mut task = String::new();
    let mut handed = None;
    eventually(SOON, "the task is there", || {
        let row = db.query_opt("SELECT task, trace FROM wf_poll('q')", &[]).unwrap();
        row.is_some_and(|row| {
            task = row.get(0);
            handed = row.get::<_, Option<String>>(1);
            true
        })
    });
    db.run(&format!("SELECT wf_complete('{task}', '1')"));
    db.waits_for("f", "signal");
    db.result("started");

    let spans_of_f = spans(&mut db, "f");
    assert!(spans_of_f.iter().all(|span| span["traceId"] == TRACE));
    let root = named(&spans_of_f, "flow")[0];
    assert_eq!(root["parentSpanId"], PARENT[36..52]);
    assert_eq!(attribute(root, "workflow.id"), "f");
    // What was at work saw the span of its own call, and the next was told anew.
    let context = |span: &Value| format!("00-{TRACE}-{}-01", span["spanId"].as_str().unwrap());
    let looks = named(&spans_of_f, "look");
    assert_eq!(looks.len(), 3);
    let mut saw = |what: &str| db.one::<String>(&format!("SELECT trace FROM seen WHERE what = '{what}'"));
    assert_eq!(saw("step"), context(looks[0]));
    assert_eq!(saw("again"), context(looks[1]));
    let of_children: Vec<String> = db.all("SELECT trace FROM seen WHERE what = 'child'");
    assert_eq!(of_children.len(), 2);
    assert!(of_children.contains(&context(looks[2])), "{of_children:?}");
    assert_eq!(handed, Some(context(named(&spans_of_f, "it")[0])));
    // A child is below the call that has started it, and so is what a step has started by hand.
    let (call, child) = (named(&spans_of_f, "call")[0], named(&spans_of_f, "below")[0]);
    assert_eq!(attribute(call, "workflow.kind"), "child");
    assert_eq!(child["parentSpanId"], call["spanId"]);
    assert_eq!(looks[2]["parentSpanId"], child["spanId"]);
    let started = spans(&mut db, "started");
    assert_eq!(started[0]["traceId"], TRACE);
    assert_eq!(started[0]["parentSpanId"], named(&spans_of_f, "start")[0]["spanId"]);
    // Items below their call.
    let each = named(&spans_of_f, "each");
    assert_eq!(each.len(), 3);
    assert_eq!(
        each.iter()
            .filter(|span| span["parentSpanId"] == root["spanId"])
            .count(),
        1
    );
    // A failure, with what it has raised.
    let fails = named(&spans_of_f, "fails")[0];
    assert_eq!(fails["status"], json!({"code": 2, "message": "no"}));
    assert_eq!(
        (
            attribute(fails, "workflow.attempts"),
            attribute(fails, "workflow.sqlstate")
        ),
        ("2".into(), "P0001".into())
    );
    assert_eq!(fails["events"].as_array().unwrap().len(), 2);
    assert_eq!(
        fails["events"][0]["attributes"][0]["value"]["stringValue"],
        "about to fail"
    );
    assert_eq!(looks[0]["status"], json!({"code": 1}));
    assert_eq!(
        (&root["status"], attribute(root, "workflow.status").as_str()),
        (&json!({}), "waiting")
    );
    assert!(named(&spans_of_f, "value").is_empty());
    // The same spans the next time, with an end.
    db.run("SELECT wf_signal('f', 'end', '1')");
    db.result("f");
    let again = spans(&mut db, "f");
    assert_eq!(again[0]["spanId"], root["spanId"]);
    assert_eq!(again[0]["status"], json!({"code": 1}));
    assert_eq!(again.len(), spans_of_f.len());

    // In place; and without a trace the instance makes one, and tells nobody.
    db.run(&format!(
        "BEGIN; SET LOCAL pg_workflow.traceparent = '{PARENT}'; SELECT wf_start('in_place', id => 'p'); COMMIT"
    ));
    db.result("p");
    assert_eq!(
        db.count(&format!(
            "seen WHERE what LIKE 'in place%' AND trace LIKE '00-{TRACE}-%-01'"
        )),
        3
    );
    db.run("TRUNCATE seen; SELECT wf_start('below', id => 'none')");
    db.result("none");
    assert_eq!(db.count("seen WHERE coalesce(trace, '') = ''"), 1);
    let own = spans(&mut db, "none");
    let run: String = db.one("SELECT replace(run_id::text, '-', '') FROM wf.workflows WHERE id = 'none'");
    assert_eq!((&own[0]["traceId"], &own[0]["parentSpanId"]), (&json!(run), &json!("")));

    // What is no trace context is refused, with nothing started; and spans are the owner's.
    let refused = db.fails("SET pg_workflow.traceparent = 'nonsense'; SELECT wf_start('below', id => 'wrong')");
    assert_eq!(refused.sqlstate, "22023");
    assert!(
        refused.message.starts_with("pg_workflow.traceparent must be"),
        "{refused:?}"
    );
    db.run("RESET pg_workflow.traceparent; CREATE ROLE other LOGIN");
    assert_eq!(db.fails("SELECT wf_otlp('wrong')").sqlstate, "42704");
    assert_eq!(
        cluster
            .connect("postgres", "other")
            .fails("SELECT wf_otlp('f')")
            .sqlstate,
        "42704"
    );
}
