use super::*;
use proptest::prelude::*;

/// Findings as `line check`, and the relations read as `line name`.
fn seen(source: &str) -> Vec<String> {
    let report = look(source);
    let findings = report
        .findings
        .iter()
        .map(|f| format!("{} {}", f.line.unwrap_or(0), f.check));
    let reads = report
        .reads
        .iter()
        .map(|r| format!("{} {}", r.line, r.relation.join(".")));
    findings.chain(reads).collect()
}

fn targets(source: &str) -> Vec<String> {
    look(source).targets.into_iter().map(|t| t.target).collect()
}

#[test]
fn a_clean_function_gives_nothing() {
    let source = r#"
DECLARE n int; update text; insert int := 1; -- now() FROM t
BEGIN
    update := 'INSERT INTO t VALUES (now())'; /* DELETE FROM t */
    PERFORM wf_step('a', $q$ UPDATE t SET at = now() FROM u $q$, input);
    FOR i IN 1..10 LOOP PERFORM wf_sleep('1 s'); END LOOP;
    n := extract(epoch FROM wf_now()) + substring(update FROM 2 FOR 3)::int;
    IF n IS DISTINCT FROM insert OR t.now = 1 THEN RETURN trim(both ' ' from update); END IF;
    SELECT count(*) INTO n FROM jsonb_array_elements(input) WITH ORDINALITY AS e(v, i), LATERAL unnest(v) x;
    SELECT count(*) INTO n FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3));
    FETCH NEXT FROM cursor INTO n;
    CASE WHEN n = 1 THEN n := 2; ELSE n := 3; END CASE;
    RETURN to_jsonb(n);
END"#;
    assert_eq!(seen(source), [""; 0]);
}

#[test]
fn reads_are_found_wherever_they_stand() {
    for (source, expected) in [
        ("SELECT * FROM t", vec!["1 t"]),
        ("x := (SELECT a FROM s.t WHERE b)", vec!["1 s.t"]),
        (
            "SELECT 1\nFROM a, b AS c, ONLY d\nWHERE e IN (SELECT f, g FROM h)",
            vec!["2 a", "2 b", "2 d", "3 h"],
        ),
        (
            "SELECT FROM a JOIN b USING (x, y) LEFT JOIN c ON f(a, b), d",
            vec!["1 a", "1 b", "1 c", "1 d"],
        ),
        (
            "SELECT FROM (a JOIN (SELECT x, y FROM b) q ON true)",
            vec!["1 a", "1 b"],
        ),
        (
            "WITH q AS (SELECT 1 FROM a), r (x) AS NOT MATERIALIZED (SELECT 2) SELECT FROM q, r, b",
            vec!["1 a", "1 b"],
        ),
        ("FOR r IN SELECT x FROM a, b LOOP NULL; END LOOP", vec!["1 a", "1 b"]),
        (
            "IF EXISTS (SELECT FROM \"Odd Name\") THEN NULL; END IF",
            vec!["1 Odd Name"],
        ),
        ("SELECT f(x, y) FROM a GROUP BY x, y", vec!["1 a"]),
        ("SELECT extract(epoch FROM (SELECT at FROM a)), b", vec!["1 a"]),
        ("SELECT DISTINCT FROM a", vec!["1 a"]),
        ("SELECT x INTO v, w FROM a; SELECT y FROM a INTO v, w", vec!["1 a"]),
    ] {
        assert_eq!(seen(source), expected, "{source}");
    }
}

#[test]
fn writes_are_found_where_they_are_statements() {
    for source in [
        "INSERT INTO t VALUES (1)",
        "BEGIN UPDATE t SET a = 1; END",
        "IF x THEN DELETE FROM t; END IF",
        "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE",
        "LOOP TRUNCATE t; END LOOP",
        "WITH q AS (UPDATE t SET a = 1 RETURNING a) INSERT INTO u TABLE q",
        "FOR r IN UPDATE t SET a = 1 RETURNING a LOOP",
        "CREATE TEMP TABLE t (a int)",
        "n := nextval('s')",
        "PERFORM 1 FROM f() FOR UPDATE",
        "PERFORM 1 FROM f() FOR NO KEY UPDATE",
    ] {
        assert!(
            seen(source).contains(&"1 write".to_owned()),
            "{source}: {:?}",
            seen(source)
        );
    }
    assert_eq!(
        seen("INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 1"),
        ["1 write"]
    );
}

#[test]
fn what_changes_acts_or_ends_is_named() {
    for (source, expected) in [
        ("a := now()", "1 volatile"),
        ("a := pg_catalog.now()", "1 volatile"),
        ("a := CURRENT_TIMESTAMP", "1 volatile"),
        ("IF random() < 0.5 THEN", "1 volatile"),
        ("\n\nPERFORM gen_random_uuid()", "3 volatile"),
        ("PERFORM pg_sleep(1)", "1 wait"),
        ("PERFORM dblink_exec('c', 'INSERT INTO t')", "1 effect"),
        ("x := 1; COMMIT;", "1 transaction"),
        ("EXCEPTION WHEN query_canceled THEN NULL;", "1 handler"),
    ] {
        assert_eq!(seen(source), [expected], "{source}");
    }
    for source in [
        "a := my.now()",
        "a := r.current_date",
        "a := nowhere()",
        "commit := 1;",
        "x := random;",
    ] {
        assert_eq!(seen(source), [""; 0], "{source}");
    }
}

#[test]
fn targets_are_read_where_they_are_literals() {
    assert_eq!(targets("PERFORM wf_step('a', 'f', x)"), ["f"]);
    assert_eq!(targets("wf_step(target => $$SELECT 1$$, name => 'a')"), ["SELECT 1"]);
    assert_eq!(targets("SELECT flows.wf_step('a'::text, E'it\\'s'::text)"), ["it's"]);
    assert_eq!(targets("wf_step(f('a', 'b'), 'g', timeout => '1 s')"), ["g"]);
    assert_eq!(
        targets("wf_step('a', 'f' || x); wf_step('a', v); wf_task('a', 'queue'); wf_step('a'"),
        [""; 0]
    );
}

#[test]
fn a_name_in_two_places_is_noted_once_a_place() {
    let source = "wf_step('a', 'f');\nwf_step('b', 'f');\nwf_begin('a', 'f');\nwf_task('a', 'f');\nwf_step(name => 'a', target => 'f')";
    assert_eq!(seen(source), ["3 name", "5 name"]);
}

proptest! {
    #[test]
    fn any_source_can_be_looked_at(words in prop::collection::vec(
        prop::sample::select(vec![
            "from", "join", "(", ")", ",", ".", ";", "a", "\"b\"", "select", "with", "as", "not", "materialized", "wf_step", "'x'", "=>",
            "name", "::", "update", "insert", "into", "for", "delete", "extract", "rows", "only", "is", "distinct", "fetch", "[", "]", "now",
        ]), 0..40)) {
        look(&words.join(" "));
    }
}
