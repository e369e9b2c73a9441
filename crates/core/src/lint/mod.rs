//! What can be seen in the source of a workflow function: mistakes, and what the catalogue has to be asked about.
//!
//! It looks at tokens, not at a parse tree: SQL in PL/pgSQL is found without knowing where an expression ends, and a
//! construct that is not known is passed over.

mod reads;

use std::collections::{BTreeMap, BTreeSet};

use crate::lexer::{self, Kind, Token};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It will fail.
    Error,
    /// A replay may go another way.
    Warning,
    Note,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// `None`: of the function as a whole.
    pub line: Option<usize>,
    pub severity: Severity,
    pub check: &'static str,
    pub message: String,
}

/// A relation that is read: the parts of its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    pub line: usize,
    pub relation: Vec<String>,
}

/// A step's target, where it is a literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub line: usize,
    pub function: &'static str,
    pub target: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub findings: Vec<Finding>,
    pub reads: BTreeSet<Read>,
    pub targets: Vec<Target>,
}

/// A call that is recorded by name: which names it shares, and where its target stands, from 0.
struct Recorded {
    function: &'static str,
    kind: &'static str,
    target: Option<usize>,
}

const RECORDED: [Recorded; 5] = [
    Recorded {
        function: "wf_step",
        kind: "step",
        target: Some(1),
    },
    Recorded {
        function: "wf_begin",
        kind: "step",
        target: Some(1),
    },
    Recorded {
        function: "wf_map",
        kind: "map",
        target: Some(1),
    },
    Recorded {
        function: "wf_compensate",
        kind: "compensation",
        target: Some(1),
    },
    Recorded {
        function: "wf_task",
        kind: "task",
        target: None,
    },
];

/// Key words that are a time.
const TIMES: [&str; 5] = [
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
];

/// Functions whose value is another one in the next replay, and what to use instead.
const CHANGING: [(&str, &str); 20] = [
    ("now", "wf_now()"),
    ("clock_timestamp", "wf_now()"),
    ("statement_timestamp", "wf_now()"),
    ("transaction_timestamp", "wf_now()"),
    ("timeofday", "wf_now()"),
    ("random", "wf_random()"),
    ("random_normal", "wf_random()"),
    ("gen_random_uuid", "wf_uuid()"),
    ("uuid_generate_v1", "wf_uuid()"),
    ("uuid_generate_v4", "wf_uuid()"),
    ("uuidv4", "wf_uuid()"),
    ("uuidv7", "wf_uuid()"),
    ("gen_random_bytes", "a step"),
    ("currval", "a step"),
    ("lastval", "a step"),
    ("txid_current", "a step"),
    ("pg_current_xact_id", "a step"),
    ("pg_backend_pid", "a step"),
    ("inet_client_addr", "a step"),
    ("pg_postmaster_start_time", "a step"),
];

/// Functions that do something beyond the transaction, anew in each replay.
const REACHING_OUT: [&str; 8] = [
    "dblink",
    "dblink_connect",
    "dblink_exec",
    "dblink_send_query",
    "http_get",
    "http_post",
    "pg_notify",
    "pg_advisory_lock",
];

/// Commands that a workflow's own code cannot give, where they begin a statement.
const WRITING: [&str; 8] = [
    "truncate", "create", "alter", "drop", "grant", "revoke", "comment", "refresh",
];

/// Looks at the body of a function in SQL or PL/pgSQL.
pub fn look(source: &str) -> Report {
    let tokens = lexer::tokens(source);
    let mut report = Report::default();
    let mut names: BTreeMap<(&'static str, String), usize> = BTreeMap::new();
    for i in 0..tokens.len() {
        let view = At { tokens: &tokens, i };
        report.findings.extend(view.finding());
        if let Some((call, name, target)) = view.recorded_call() {
            let line = tokens[i].line;
            if let Some(name) = name {
                match names.get(&(call.kind, name.clone())) {
                    Some(first) => report.findings.push(Finding {
                        line: Some(line),
                        severity: Severity::Note,
                        check: "name",
                        message: format!(
                            "{} \"{name}\" has the name of another one in line {first}: they are told apart by their order only",
                            call.kind
                        ),
                    }),
                    None => {
                        names.insert((call.kind, name), line);
                    }
                }
            }
            report.targets.extend(target.map(|target| Target {
                line,
                function: call.function,
                target,
            }));
        }
    }
    for statement in tokens.split(|token| token.is_symbol(";")) {
        report.reads.extend(reads::reads(statement));
    }
    report
}

/// A token among its neighbours.
#[derive(Clone, Copy)]
struct At<'a> {
    tokens: &'a [Token],
    i: usize,
}

impl<'a> At<'a> {
    fn here(self) -> &'a Token {
        &self.tokens[self.i]
    }

    fn after(self, n: usize) -> Option<&'a Token> {
        self.tokens.get(self.i + n)
    }

    fn before(self, n: usize) -> Option<&'a Token> {
        self.tokens.get(self.i.checked_sub(n)?)
    }

    fn follows(self, words: &[&str]) -> bool {
        self.before(1)
            .is_some_and(|token| token.kind == Kind::Word && words.contains(&token.text.as_str()))
    }

    fn follows_symbol(self, symbol: &str) -> bool {
        self.before(1).is_some_and(|token| token.is_symbol(symbol))
    }

    fn precedes(self, words: &[&str]) -> bool {
        self.after(1)
            .is_some_and(|token| token.kind == Kind::Word && words.contains(&token.text.as_str()))
    }

    fn begins_statement(self) -> bool {
        self.i == 0
            || self.follows_symbol(";")
            || self.follows_symbol(">>")
            || self.follows(&["begin", "atomic", "then", "else", "loop"])
    }

    /// A call of a function of Postgres, or one that is not qualified.
    fn is_call(self) -> bool {
        self.after(1).is_some_and(|token| token.is_symbol("("))
            && (!self.follows_symbol(".") || self.before(2).is_some_and(|token| token.is_word("pg_catalog")))
    }

    fn finding(self) -> Option<Finding> {
        let token = self.here();
        if token.kind != Kind::Word {
            return None;
        }
        let word = token.text.as_str();
        let found = |severity, check, message| {
            Some(Finding {
                line: Some(token.line),
                severity,
                check,
                message,
            })
        };
        if let Some(command) = self.write() {
            return found(
                Severity::Error,
                "write",
                format!("{command} fails outside of a step: a workflow writes in its steps only"),
            );
        }
        if matches!(word, "commit" | "rollback") && self.begins_statement() && !self.assigns() {
            return found(
                Severity::Error,
                "transaction",
                format!(
                    "{} fails: a workflow cannot end its transaction, steps are committed for you",
                    word.to_uppercase()
                ),
            );
        }
        if TIMES.contains(&word) && !self.follows_symbol(".") {
            return found(
                Severity::Warning,
                "volatile",
                format!("{word} is another one in each replay: use wf_now()"),
            );
        }
        if word == "query_canceled" && self.follows(&["when", "or"]) {
            return found(
                Severity::Warning,
                "handler",
                "query_canceled is the error by which a workflow is unwound: do not catch it".to_owned(),
            );
        }
        if !self.is_call() {
            return None;
        }
        if let Some((_, instead)) = CHANGING.iter().find(|(name, _)| *name == word) {
            return found(
                Severity::Warning,
                "volatile",
                format!("{word}() is another one in each replay: use {instead}"),
            );
        }
        if matches!(word, "pg_sleep" | "pg_sleep_for" | "pg_sleep_until") {
            let message = format!("{word}() holds a process in each replay: use wf_sleep()");
            return found(Severity::Warning, "wait", message);
        }
        if REACHING_OUT.contains(&word) {
            let message = format!("{word}() acts anew in each replay: call it in a step");
            return found(Severity::Warning, "effect", message);
        }
        None
    }

    /// True for a variable that has the name of a command.
    fn assigns(self) -> bool {
        self.after(1)
            .is_some_and(|token| [":=", "=", "."].iter().any(|symbol| token.is_symbol(symbol)))
    }

    /// Tells `UPDATE [ONLY] s.t [*] [AS] a SET` from a variable's name.
    fn sets(self) -> bool {
        (2..=8)
            .map_while(|n| self.after(n).filter(|token| !token.is_symbol(";")))
            .any(|token| token.is_word("set"))
    }

    /// The command that begins here, if it is one that writes or locks.
    fn write(self) -> Option<String> {
        let word = self.here().text.as_str();
        if self.follows_symbol(".") {
            return None;
        }
        let writes = match word {
            "insert" | "merge" => self.precedes(&["into"]),
            "delete" => self.precedes(&["from"]),
            "update" => {
                let placed = self.begins_statement()
                    || self.follows(&["query", "in"])
                    || self.follows_symbol("(")
                    || self.follows_symbol(")");
                placed && self.sets()
            }
            "nextval" | "setval" => {
                return self.is_call().then(|| format!("{word}()"));
            }
            "for" => {
                let strong = self.precedes(&["update", "share"]) && !self.after(2).is_some_and(|t| t.is_word("in"));
                let weak = self.precedes(&["no", "key"])
                    && self.after(2).is_some_and(|t| t.is_word("key") || t.is_word("share"));
                return (strong || weak).then(|| "SELECT ... FOR UPDATE or SHARE".to_owned());
            }
            _ => {
                WRITING.contains(&word)
                    && self.begins_statement()
                    && self.after(1).is_some_and(|t| t.kind == Kind::Word)
            }
        };
        writes.then(|| word.to_uppercase())
    }

    /// A recorded call that begins here, with its name and its target where they are literals.
    fn recorded_call(self) -> Option<(&'static Recorded, Option<String>, Option<String>)> {
        let token = self.here();
        let call = RECORDED
            .iter()
            .find(|call| token.is_word(call.function) && self.after(1).is_some_and(|t| t.is_symbol("(")))?;
        let arguments = arguments(&self.tokens[self.i + 2..]);
        let literal = |name: &str, position: usize| {
            let named = arguments.iter().find_map(|argument| match argument {
                [key, arrow, value @ ..] if key.is_word(name) && (arrow.is_symbol("=>") || arrow.is_symbol(":=")) => {
                    Some(value)
                }
                _ => None,
            });
            match named.or(arguments.get(position).copied())? {
                [only] if only.kind == Kind::Text => Some(only.text.clone()),
                [value, cast, _] if value.kind == Kind::Text && cast.is_symbol("::") => Some(value.text.clone()),
                _ => None,
            }
        };
        let target = call.target.and_then(|position| literal("target", position));
        Some((call, literal("name", 0), target))
    }
}

/// The arguments of a call, up to its closing parenthesis.
fn arguments(tokens: &[Token]) -> Vec<&[Token]> {
    let mut found = Vec::new();
    let (mut depth, mut begin) = (0_usize, 0);
    for (i, token) in tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| token.kind == Kind::Symbol)
    {
        match token.text.as_str() {
            "(" | "[" => depth += 1,
            ")" if depth == 0 => {
                found.push(&tokens[begin..i]);
                break;
            }
            ")" | "]" => depth = depth.saturating_sub(1),
            "," if depth == 0 => {
                found.push(&tokens[begin..i]);
                begin = i + 1;
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
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
}
