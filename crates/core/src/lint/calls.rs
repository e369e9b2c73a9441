//! The calls of a workflow, in the order of its source.

use super::words::WAITS;
use super::{At, arguments};
use crate::lexer::{self, Kind};

/// A call that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub line: usize,
    pub kind: &'static str,
    /// `None` if it is no literal.
    pub name: Option<String>,
}

/// What the body of a function in SQL or PL/pgSQL calls: steps, waits, children. Values are left out.
pub fn calls(source: &str) -> Vec<Call> {
    let tokens = lexer::tokens(source);
    let call = |i: usize| {
        let view = At { tokens: &tokens, i };
        let token = view.here();
        if let Some((call, name, _)) = view.recorded_call() {
            return Some((token.line, call.kind, name));
        }
        let opens = view.after(1).is_some_and(|next| next.is_symbol("("));
        let (_, kind) = WAITS.iter().find(|(function, _)| opens && token.is_word(function))?;
        let name = match (*kind, arguments(&tokens[i + 2..]).first()) {
            ("signal", Some([name])) if name.kind == Kind::Text => Some(name.text.clone()),
            ("signal", _) => None,
            _ => Some((*kind).to_owned()),
        };
        Some((token.line, *kind, name))
    };
    let calls = (0..tokens.len()).filter_map(call);
    calls.map(|(line, kind, name)| Call { line, kind, name }).collect()
}
