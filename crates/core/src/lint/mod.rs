//! What can be seen in the source of a workflow function: mistakes, and what the catalogue has to be asked about.
//!
//! It looks at tokens, not at a parse tree: SQL in PL/pgSQL is found without knowing where an expression ends, and a
//! construct that is not known is passed over.

mod calls;
mod reads;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use crate::lexer::{self, Kind, Token};
pub use calls::{Call, calls};
use words::{CHANGING, REACHING_OUT, RECORDED, Recorded, TIMES, WRITING};

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
mod tests;
