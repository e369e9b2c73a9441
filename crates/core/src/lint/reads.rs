//! Which relations a statement reads.

use std::collections::BTreeSet;

use super::{At, NEAR, Read};
use crate::lexer::{Kind, Token};

/// Functions whose syntax has a FROM in their parentheses.
const WITH_FROM: [&str; 6] = ["extract", "substring", "trim", "overlay", "position", "normalize"];

/// Key words that end a list of relations, at the same depth of parentheses.
const AFTER_FROM: [&str; 19] = [
    "where",
    "group",
    "order",
    "having",
    "limit",
    "offset",
    "fetch",
    "window",
    "union",
    "except",
    "intersect",
    "returning",
    "into",
    "for",
    "loop",
    "then",
    "set",
    "select",
    "values",
];

/// What a level of parentheses is in.
#[derive(Default)]
struct Level {
    /// The function whose arguments they are.
    function: Option<String>,
    /// In a list of relations.
    list: bool,
    /// A relation comes next.
    expects: bool,
}

/// Relations that a statement reads: names behind FROM, JOIN and the commas between them.
pub(super) fn reads(tokens: &[Token]) -> Vec<Read> {
    let own = common_tables(tokens);
    let mut found = Vec::new();
    let mut outer: Vec<Level> = Vec::new();
    let mut level = Level::default();
    let mut i = 0;
    while let Some(token) = tokens.get(i) {
        let view = At { tokens, i };
        i += 1;
        match (token.kind, token.text.as_str()) {
            (Kind::Symbol, "(") => {
                let inner = if level.expects {
                    let query = view.precedes(&["select", "values", "with", "table"]);
                    Level {
                        list: !query,
                        expects: !query,
                        function: None,
                    }
                } else {
                    let function = view.before(1).filter(|t| t.kind == Kind::Word).map(|t| t.text.clone());
                    Level {
                        function,
                        ..Level::default()
                    }
                };
                level.expects = false;
                outer.push(std::mem::replace(&mut level, inner));
            }
            (Kind::Symbol, ")") => level = outer.pop().unwrap_or_default(),
            (Kind::Symbol, ",") => level.expects = level.list,
            (Kind::Word, "from") => {
                let compares =
                    view.follows(&["distinct"]) && view.before(2).is_some_and(|t| t.is_word("is") || t.is_word("not"));
                let in_function = level.function.as_deref().is_some_and(|f| WITH_FROM.contains(&f));
                let other = view.follows(&["delete", "rows"]) || is_cursor(tokens, i - 1);
                level.expects = !compares && !in_function && !other;
                level.list |= level.expects;
            }
            (Kind::Word, "join") => {
                level.list = true;
                level.expects = true;
            }
            (Kind::Word, "only" | "lateral" | "rows") if level.expects => {}
            (Kind::Word, word) if AFTER_FROM.contains(&word) => {
                level.list = false;
                level.expects = false;
            }
            (Kind::Word | Kind::Quoted, _) if level.expects => {
                level.expects = false;
                let mut relation = vec![token.text.clone()];
                while let (Some(dot), Some(part)) = (tokens.get(i), tokens.get(i + 1))
                    && dot.is_symbol(".")
                    && part.is_name()
                {
                    relation.push(part.text.clone());
                    i += 2;
                }
                let function = tokens.get(i).is_some_and(|t| t.is_symbol("("));
                let common = relation.len() == 1 && own.contains(&relation[0]);
                if !(function || common) {
                    found.push(Read {
                        line: token.line,
                        relation,
                    });
                }
            }
            _ => {}
        }
    }
    found
}

/// True if the FROM at `from` is one of FETCH, MOVE, COPY or REVOKE.
fn is_cursor(tokens: &[Token], from: usize) -> bool {
    (from.saturating_sub(NEAR)..from)
        .rev()
        .map(|i| At { tokens, i })
        .find(|at| at.begins_statement())
        .is_some_and(|at| {
            ["fetch", "move", "copy", "revoke"]
                .iter()
                .any(|word| at.here().is_word(word))
        })
}

/// Names that a statement gives to queries of its own: `name [(columns)] AS [NOT MATERIALIZED] (SELECT`.
fn common_tables(tokens: &[Token]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (i, token) in tokens.iter().enumerate().filter(|(_, token)| token.is_name()) {
        let mut rest = &tokens[i + 1..];
        if rest.first().is_some_and(|t| t.is_symbol("(")) {
            let Some(end) = rest.iter().take(NEAR).position(|t| t.is_symbol(")")) else {
                continue;
            };
            rest = &rest[end + 1..];
        }
        let Some((first, mut rest)) = rest.split_first() else {
            continue;
        };
        if !first.is_word("as") {
            continue;
        }
        while let Some((word, after)) = rest.split_first()
            && (word.is_word("not") || word.is_word("materialized"))
        {
            rest = after;
        }
        if let [paren, query, ..] = rest
            && paren.is_symbol("(")
            && query.kind == Kind::Word
            && [
                "select", "values", "with", "insert", "update", "delete", "merge", "table",
            ]
            .contains(&query.text.as_str())
        {
            found.insert(token.text.clone());
        }
    }
    found
}
