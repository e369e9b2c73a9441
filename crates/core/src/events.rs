//! Which changes of a table are meant: `insert`, `update of state, amount or delete`.

use crate::lexer::{self, Token};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Insert,
    /// Of these columns; of any if there are none.
    Update(Vec<String>),
    Delete,
}

/// Reads events as CREATE TRIGGER takes them. `None`: it is not that, or names an event twice.
pub fn parse(text: &str) -> Option<Vec<Event>> {
    let tokens = lexer::tokens(text);
    let events: Vec<Event> = tokens
        .split(|token| token.is_word("or"))
        .map(event)
        .collect::<Option<_>>()?;
    let sorts: Vec<_> = events.iter().map(std::mem::discriminant).collect();
    let once = sorts.iter().enumerate().all(|(i, sort)| !sorts[..i].contains(sort));
    once.then_some(events)
}

fn event(tokens: &[Token]) -> Option<Event> {
    match tokens {
        [word] if word.is_word("insert") => Some(Event::Insert),
        [word] if word.is_word("delete") => Some(Event::Delete),
        [word] if word.is_word("update") => Some(Event::Update(Vec::new())),
        [word, of, columns @ ..] if word.is_word("update") && of.is_word("of") => {
            let columns = columns.split(|token| token.is_symbol(",")).map(|column| match column {
                [name] if name.is_name() => Some(name.text.clone()),
                _ => None,
            });
            columns.collect::<Option<_>>().map(Event::Update)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_a_trigger_takes_them() {
        assert_eq!(parse(" INSERT "), Some(vec![Event::Insert]));
        assert_eq!(
            parse("delete or Update"),
            Some(vec![Event::Delete, Event::Update(vec![])])
        );
        assert_eq!(
            parse("update of State, \"a or b\" or insert"),
            Some(vec![
                Event::Update(vec!["state".into(), "a or b".into()]),
                Event::Insert
            ])
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "or",
            "insert or",
            "truncate",
            "insert, update",
            "insert or insert",
            "update of",
            "update of a,",
            "update of a b",
            "update of a or update",
            "insert on t",
            "'insert'",
            "\"insert\"",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
