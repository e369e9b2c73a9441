//! Workflows that are started by changes of a table's rows: `wf_on`, `wf_off`.
//!
//! A trigger and its function are ordinary objects of the caller's, beside the table and in its dump. The function is
//! SECURITY DEFINER: the workflow is the caller's, whoever changes the row. So nobody else may put it on another table,
//! and expressions are evaluated with names from `pg_catalog` only, where nobody can slip another function under them.

use std::fmt::Write;

use pg_workflow_core::events::{self, Event};
use pg_workflow_core::lexer;
use pg_workflow_core::target::is_name;

use crate::engine::{check, start};
use crate::error::Error;
use crate::pg::catalog::{quote_identifier, quote_literal};
use crate::pg::{Oid, guard, scope, spi};
use crate::store::triggers::{self, Table};

/// Arguments of `wf_on`.
pub(crate) struct On {
    pub(crate) table: Oid,
    pub(crate) event: String,
    pub(crate) workflow: String,
    pub(crate) when: Option<String>,
    pub(crate) input: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
}

/// Longest name, in bytes: Postgres cuts longer ones off.
const MAX_NAME: usize = 63;

/// Has changes of a table start a workflow; returns the trigger's name.
pub(crate) fn on(on: &On) -> Result<String, Error> {
    let found = scope::as_engine(|| triggers::table(on.table));
    let table = found.ok_or_else(|| Error::NotATable(on.table.to_u32().to_string()))?;
    if !table.has_rows {
        return Err(Error::NotATable(table.name));
    }
    let events = events::parse(&on.event).ok_or_else(|| Error::WrongArgument {
        name: "event",
        expected: "insert, update, update of columns, delete, or several of them joined by or".to_owned(),
    })?;
    start::check_text("workflow", &on.workflow, 1024)?;
    check::check_startable(&on.workflow)?;
    let name = match &on.name {
        Some(name) => name.clone(),
        None => shortened(&format!("wf_{}", bare(&on.workflow))),
    };
    start::check_text("name", &name, MAX_NAME)?;
    if scope::as_engine(|| triggers::exists(on.table, &name)) {
        return Err(Error::TriggerExists {
            name,
            table: table.name,
        });
    }
    let input = on.input.clone().unwrap_or_else(|| default_input(&events).to_owned());
    check_expression("input", &input, "jsonb", &table, &events)?;
    if let Some(id) = &on.id {
        check_expression("id", id, "text", &table, &events)?;
    }
    let function = shortened(&format!("{}_{name}", table.name));
    let qualified = qualified(&table.schema, &function);
    let trigger = create_trigger(on, &name, &table, &events, &qualified, &input);
    made(&name, &table, || {
        if scope::as_engine(|| triggers::is_leftover(&table.schema, &function)) {
            run(&format!("DROP FUNCTION {qualified}()"));
        }
        run(&create_function(on, &qualified, &input));
        run(&format!("REVOKE ALL ON FUNCTION {qualified}() FROM PUBLIC"));
        // DROP EXTENSION is refused while the trigger is there; with CASCADE it takes trigger and function along.
        run(&format!(
            "ALTER FUNCTION {qualified}() DEPENDS ON EXTENSION pg_workflow"
        ));
        if spi::count_statements(&trigger) != 1 {
            return Err(no_expression("\"when\""));
        }
        run(&trigger);
        Ok(name.clone())
    })
}

/// Takes away what [`on`] has made; false if there is none of that name.
pub(crate) fn off(table: Oid, name: &str) -> bool {
    let Some((schema, function)) = scope::as_engine(|| triggers::find(table, name)) else {
        return false;
    };
    // The owner of the function may not own the table, as DROP TRIGGER would ask for. Nothing else hangs on the function.
    scope::with_settings(&[(c"client_min_messages", c"warning")], || {
        run(&format!("DROP FUNCTION {}() CASCADE", qualified(&schema, &function)));
    });
    true
}

/// A function's name without its schema; a name of `wf_define` as it is.
fn bare(workflow: &str) -> String {
    let last = lexer::tokens(workflow).pop().filter(|_| is_name(workflow));
    last.map_or_else(|| workflow.to_owned(), |token| token.text)
}

fn default_input(events: &[Event]) -> &'static str {
    let deletes = events.contains(&Event::Delete);
    match (deletes, events.len()) {
        (false, _) => "to_jsonb(new)",
        (true, 1) => "to_jsonb(old)",
        (true, _) => "coalesce(to_jsonb(new), to_jsonb(old))",
    }
}

/// A name that Postgres does not cut off: a long one ends with its digest (FNV-1a).
fn shortened(name: &str) -> String {
    if name.len() <= MAX_NAME {
        return name.to_owned();
    }
    let digest = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let end = (0..=MAX_NAME - 17)
        .rev()
        .find(|end| name.is_char_boundary(*end))
        .unwrap_or(0);
    format!("{}_{digest:016x}", &name[..end])
}

/// Has Postgres look at an expression over the rows that the events have: columns, functions, type.
fn check_expression(name: &'static str, sql: &str, result: &str, table: &Table, events: &[Event]) -> Result<(), Error> {
    let row = format!(
        "pg_catalog.jsonb_populate_record(NULL::{}, '{{}}')",
        qualified(&table.schema, &table.name)
    );
    let mut rows = Vec::new();
    if events.iter().any(|event| *event != Event::Delete) {
        rows.push(format!("{row} AS new"));
    }
    if events.iter().any(|event| *event != Event::Insert) {
        rows.push(format!("{row} AS old"));
    }
    let query = format!(
        "SELECT (\n{sql}\n)::pg_catalog.{result} FROM {} WHERE false",
        rows.join(", ")
    );
    let context = || format!("argument \"{name}\" of wf_on, in which names outside of pg_catalog are to be qualified");
    in_context(context, || {
        if spi::count_statements(&query) != 1 {
            return Err(no_expression(name));
        }
        scope::with_settings(&[(c"search_path", c"pg_catalog, pg_temp")], || run(&query));
        Ok(())
    })
}

/// Runs `f`, whose errors tell what it was for, instead of the statements that it is made of.
fn made<T>(name: &str, table: &Table, f: impl FnOnce() -> T) -> T {
    in_context(
        || {
            format!(
                "making trigger \"{name}\" on table {}",
                qualified(&table.schema, &table.name)
            )
        },
        f,
    )
}

fn in_context<T>(context: impl FnOnce() -> String, f: impl FnOnce() -> T) -> T {
    guard::catch(f).unwrap_or_else(|mut error| {
        error.context = Some(context());
        guard::throw(error)
    })
}

fn no_expression(name: &'static str) -> Error {
    Error::WrongArgument {
        name,
        expected: "one SQL expression".to_owned(),
    }
}

/// The `search_path` of the caller is that of the workflow, and is set behind the expressions. What is called then stands in
/// a schema in which nobody can put a better match beside it, as could be done with `wf_start`.
fn create_function(on: &On, qualified: &str, input: &str) -> String {
    let id = on.id.as_deref().unwrap_or("NULL");
    let body = format!(
        "-- Made by wf_on; wf_off takes it away.
#variable_conflict use_column
DECLARE
    wf_input pg_catalog.jsonb := (
{input}
    )::pg_catalog.jsonb;
    wf_id pg_catalog.text := (
{id}
    )::pg_catalog.text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', {}, true);
    PERFORM wf.start_for_row({}, wf_input, wf_id);
    RETURN NULL;
END
",
        quote_literal(&scope::search_path()),
        quote_literal(&on.workflow),
    );
    format!(
        "CREATE FUNCTION {qualified}() RETURNS pg_catalog.trigger LANGUAGE plpgsql \
         SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {}",
        quote_literal(&body)
    )
}

/// Its arguments are for [`wf.triggers`](../../sql/views/22_triggers.sql) and for the eye.
fn create_trigger(on: &On, name: &str, table: &Table, events: &[Event], function: &str, input: &str) -> String {
    let events: Vec<String> = events.iter().map(event_sql).collect();
    let mut sql = format!(
        "CREATE TRIGGER {} AFTER {} ON {} FOR EACH ROW",
        quote_identifier(name),
        events.join(" OR "),
        qualified(&table.schema, &table.name)
    );
    if let Some(when) = &on.when {
        let _ = write!(sql, " WHEN (\n{when}\n)");
    }
    let arguments = ["pg_workflow", &on.workflow, input, on.id.as_deref().unwrap_or_default()];
    let arguments: Vec<String> = arguments.into_iter().map(quote_literal).collect();
    let _ = write!(sql, " EXECUTE FUNCTION {function}({})", arguments.join(", "));
    sql
}

fn event_sql(event: &Event) -> String {
    match event {
        Event::Insert => "INSERT".to_owned(),
        Event::Delete => "DELETE".to_owned(),
        Event::Update(columns) if columns.is_empty() => "UPDATE".to_owned(),
        Event::Update(columns) => {
            let columns: Vec<String> = columns.iter().map(|column| quote_identifier(column)).collect();
            format!("UPDATE OF {}", columns.join(", "))
        }
    }
}

fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote_identifier(schema), quote_identifier(name))
}

/// DDL of the caller's, as the caller.
fn run(sql: &str) {
    spi::run_text(sql, &[], &[]).free();
}
