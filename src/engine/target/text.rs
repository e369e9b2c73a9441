//! Targets as SQL text, for steps that run as commands of their own.

use pg_workflow_core::signature::Call;
use pg_workflow_core::target::is_name;

use super::{Running, array, call_sql, call_statement, candidates, choose, fitting, inputs, plan, record};
use crate::pg::spi::types;
use crate::pg::{Json, catalog, top_level};
use crate::store::functions::Function;

/// A target as SQL text, for whoever runs it at top level, and how its result is read from what that gives back.
pub(crate) struct Command {
    pub(crate) text: String,
    pub(crate) shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Of SQL: rows, or a number of rows, or what kind of command it was.
    Statement,
    /// The one row of a function or procedure, if there is one.
    Value,
    /// The rows of a function that returns a set.
    Values,
}

/// A target given as text as one command, with the input as its `$1`.
///
/// # Errors
/// Unwinds with ours if it cannot be called with this input, and with what converting the input raises.
pub(crate) fn command(target: &str, input: &Json) -> Command {
    let _running = Running::begin();
    if !is_name(target) {
        let (text, shape) = (target.to_owned(), Shape::Statement);
        return Command { text, shape };
    }
    let function = choose(target, input, &candidates(target)).unwrap_or_else(|error| error.throw());
    let how = fitting(&function, input);
    if function.is_procedure {
        let (text, shape) = (call_text(&function, &how, input), Shape::Value);
        return Command { text, shape };
    }
    let shape = if function.returns_set {
        Shape::Values
    } else {
        Shape::Value
    };
    let text = call_sql(&function, &how);
    Command { text, shape }
}

impl Shape {
    pub(crate) fn result(self, output: top_level::Output) -> Option<Json> {
        let top_level::Output { rows, count, tag } = output;
        match (self, rows) {
            (Self::Value, rows) => rows.into_iter().flatten().next().flatten(),
            (_, Some(rows)) => Some(array(rows.into_iter())),
            (_, None) => Some(count.map_or_else(
                || Json::from_value(&tag.into()),
                |count| Json::parse(&count.to_string()),
            )),
        }
    }
}

/// A CALL whose arguments are constants: computed here, since it takes no subquery.
fn call_text(procedure: &Function, how: &Call, input: &Json) -> String {
    let literals = match how {
        Call::Named(given) if !given.is_empty() => {
            let parameters = inputs(procedure);
            let columns = given.iter().map(|i| {
                let column = catalog::quote_identifier(&parameters[*i].name);
                format!("pg_catalog.quote_nullable(r.{column}::pg_catalog.text)")
            });
            let columns = columns.collect::<Vec<_>>().join(", ");
            let sql = format!("SELECT {columns} FROM {}", record(&parameters, given));
            let output = plan(&sql, &[types::JSONB]).run(&[Some(input.datum())]);
            let texts = (0..given.len()).map(|column| output.json(0, column));
            let texts = texts.map(|text| text.and_then(|text| text.to_value().as_str().map(str::to_owned)));
            let literals = given.iter().zip(texts).map(|(i, text)| {
                let text = text.unwrap_or_else(|| "NULL".to_owned());
                format!("CAST({text} AS {})", parameters[*i].type_name)
            });
            let literals = literals.collect();
            output.free();
            literals
        }
        _ => Vec::new(),
    };
    call_statement(procedure, how, |position| literals[position].clone())
}
