//! Targets: functions, procedures and SQL text that steps (and workflows themselves) run with a JSON input.
//!
//! Everything here runs as the owner of the instance, with its `search_path`, inside a subtransaction; catalogue
//! lookups switch to the engine for their own statements only.

mod text;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use pg_workflow_core::signature::{self, Call, Mismatch, Parameter};
use pg_workflow_core::target::is_name;

use crate::error::Error;
use crate::pg::spi::{self, Output, UserPlan, types};
use crate::pg::{Datum, Json, Oid, PgError, catalog, guard, scope};
use crate::store::functions::{self, Function, Mode};

pub(crate) use text::{Command, Shape, command};

/// Runs a target given as text: the name of a function, or SQL.
///
/// # Errors
/// Unwinds with the target's own error, or ours if it cannot be called with this input.
pub(crate) fn run(target: &str, input: &Json) -> Option<Json> {
    let _running = Running::begin();
    if is_name(target) {
        let function = choose(target, input, &candidates(target)).unwrap_or_else(|error| error.throw());
        call(&function, input)
    } else {
        run_sql(target, input)
    }
}

/// The rows of a query with the input as `$1`, as a step with this text as its target would give them.
///
/// # Errors
/// Unwinds with the query's own error, or ours if it returns no rows at all.
pub(crate) fn run_query(sql: &str, input: &Json) -> Json {
    let _running = Running::begin();
    run_sql(sql, input)
        .filter(Json::is_array)
        .unwrap_or_else(|| Error::NotAQuery.throw())
}

/// The functions that a name means under the `search_path` in force.
///
/// # Errors
/// Unwinds if there is none.
pub(crate) fn candidates(name: &str) -> Vec<Rc<Function>> {
    let role = scope::current_user();
    let key = (name.to_owned(), scope::search_path(), role.to_u32());
    with_cache(|cache| cache.names.get(&key).cloned()).unwrap_or_else(|| {
        let found = catalog::functions_named(name);
        let described: Vec<_> =
            scope::as_engine(|| found.iter().filter_map(|oid| functions::get(*oid, role)).collect());
        let described: Vec<_> = described.into_iter().map(Rc::new).collect();
        with_cache(|cache| cache.names.insert(key, described.clone()));
        described
    })
}

/// The one of `candidates` that the input fits.
pub(crate) fn choose(name: &str, input: &Json, candidates: &[Rc<Function>]) -> Result<Rc<Function>, Error> {
    let first = candidates
        .first()
        .ok_or_else(|| Error::UnknownFunction(name.to_owned()))?;
    if let [only] = candidates
        && takes_whole(only)
    {
        return check(only, Ok(())).map(|()| Rc::clone(only));
    }
    let keys = input.keys();
    let fits: Vec<_> = candidates.iter().filter(|f| fit(f, keys.as_ref()).is_ok()).collect();
    match fits.as_slice() {
        [] => check(first, fit(first, keys.as_ref()).map(|_| ())).map(|()| Rc::clone(first)),
        [one] => check(one, Ok(())).map(|()| Rc::clone(one)),
        several => Err(Error::AmbiguousFunction {
            name: name.to_owned(),
            candidates: several.iter().map(|f| f.signature.clone()).collect(),
        }),
    }
}

/// Refuses a function that no input makes callable.
pub(crate) fn check_callable(function: &Function) -> Result<(), Error> {
    check(function, Ok(()))
}

fn check(function: &Function, fitting: Result<(), Mismatch>) -> Result<(), Error> {
    if function.is_special {
        return Err(Error::NotAFunction(function.signature.clone()));
    }
    if function.returns_nothing_usable {
        return Err(Error::NotCallable(function.signature.clone()));
    }
    if !function.executable {
        return Err(Error::NoExecute(function.signature.clone()));
    }
    if let Some((parameter, type_name)) = &function.pseudo {
        return Err(Error::PseudoType {
            function: function.signature.clone(),
            parameter: parameter.clone(),
            type_name: type_name.clone(),
        });
    }
    fitting.map_err(|mismatch| {
        let names = function
            .parameters
            .iter()
            .map(|(p, _)| format!("\"{}\"", p.name))
            .collect::<Vec<_>>()
            .join(", ");
        let quoted = |keys: &[String]| keys.iter().map(|k| format!("\"{k}\"")).collect::<Vec<_>>().join(", ");
        let (detail, hint) = match mismatch {
            Mismatch::NotAnObject => (
                "The input is not a JSON object.".to_owned(),
                format!("Its keys name the parameters {names}."),
            ),
            Mismatch::Missing(keys) => (
                match keys.len() {
                    1 => format!("There is no key for parameter {}.", quoted(&keys)),
                    _ => format!("There are no keys for parameters {}.", quoted(&keys)),
                },
                format!("The parameters are {names}."),
            ),
            Mismatch::Unknown(keys) => (
                match keys.len() {
                    1 => format!("There is no parameter for key {}.", quoted(&keys)),
                    _ => format!("There are no parameters for keys {}.", quoted(&keys)),
                },
                format!("The parameters are {names}; a function with one jsonb parameter takes any input."),
            ),
            Mismatch::Unnamed => (
                "A parameter has no name.".to_owned(),
                "Name the parameters, or take one of type jsonb.".to_owned(),
            ),
        };
        Error::InputMismatch {
            function: function.signature.clone(),
            detail,
            hint,
        }
    })
}

fn inputs(function: &Function) -> Vec<Parameter> {
    function
        .parameters
        .iter()
        .filter(|(_, mode)| *mode != Mode::Out)
        .map(|(p, _)| p.clone())
        .collect()
}

fn fit(function: &Function, keys: Option<&BTreeSet<String>>) -> Result<Call, Mismatch> {
    if takes_whole(function) {
        let plain = function
            .parameters
            .iter()
            .filter(|(_, mode)| *mode == Mode::In || !function.is_procedure);
        return signature::fit(&plain.map(|(p, _)| p.clone()).collect::<Vec<_>>(), keys);
    }
    signature::fit(&inputs(function), keys)
}

/// True if the function has one `jsonb` parameter (a procedure: beside its INOUT and OUT ones).
pub(crate) fn takes_whole(function: &Function) -> bool {
    let mut plain = function
        .parameters
        .iter()
        .filter(|(_, mode)| *mode == Mode::In || !function.is_procedure);
    matches!((plain.next(), plain.next()), (Some((p, _)), None) if matches!(p.type_name.as_str(), "jsonb" | "json"))
}

/// Calls a function or procedure with an input that fits it.
///
/// # Errors
/// Unwinds with the function's own error.
fn call(function: &Function, input: &Json) -> Option<Json> {
    try_call(function, input).unwrap_or_else(|error| guard::throw(error))
}

/// As [`run`] of a function that is known, for the replays of workflows, each but the last of which ends with an error.
///
/// # Errors
/// The function's own; others unwind. To be called below a subtransaction that is rolled back on an error.
pub(crate) fn try_call(function: &Function, input: &Json) -> Result<Option<Json>, PgError> {
    let _running = Running::begin();
    let how = fitting(function, input);
    if function.is_procedure {
        return Ok(call_procedure(function, &how, input, |sql, types, args| {
            plan(sql, types).run(args)
        }));
    }
    let sql = call_sql(function, &how);
    let output = plan(&sql, &[types::JSONB]).try_run(&[Some(input.datum())])?;
    let result = if function.returns_set {
        Some(array((0..output.count).map(|row| output.json(row, 0))))
    } else if output.count > 0 {
        output.json(0, 0)
    } else {
        None
    };
    output.free();
    Ok(result)
}

/// Calls a procedure so that it may commit. Not in a subtransaction.
pub(crate) fn call_in_place(procedure: &Function, input: &Json) -> Option<Json> {
    let _running = Running::begin();
    call_procedure(procedure, &fitting(procedure, input), input, spi::call_nonatomic)
}

/// How a function is called with an input that was found to fit it.
fn fitting(function: &Function, input: &Json) -> Call {
    let fitting = if takes_whole(function) {
        fit(function, None)
    } else {
        fit(function, input.keys().as_ref())
    };
    fitting.unwrap_or_else(|mismatch| {
        check(function, Err(mismatch)).map_or_else(|error| error.throw(), |()| Call::Named(Vec::new()))
    })
}

/// Converts the values of an input that fits to the parameters' types, for the errors that this may raise.
pub(crate) fn check_values(function: &Function, input: &Json) {
    if takes_whole(function) {
        return;
    }
    if let Ok(Call::Named(given)) = fit(function, input.keys().as_ref())
        && !given.is_empty()
    {
        let _running = Running::begin();
        let sql = format!("SELECT r FROM {}", record(&inputs(function), &given));
        plan(&sql, &[types::JSONB]).run(&[Some(input.datum())]).free();
    }
}

fn qualified(function: &Function) -> String {
    format!(
        "{}.{}",
        catalog::quote_identifier(&function.schema),
        catalog::quote_identifier(&function.name)
    )
}

/// `SELECT f(a => r.a) FROM jsonb_to_record($1) AS r(a type)`: Postgres converts each key to its parameter's type.
fn call_sql(function: &Function, how: &Call) -> String {
    let name = qualified(function);
    match how {
        Call::Whole { type_name } => format!("SELECT {name}($1::pg_catalog.{type_name})"),
        Call::Named(given) if given.is_empty() => format!("SELECT {name}()"),
        Call::Named(given) => {
            let parameters = inputs(function);
            let last = parameters.len() - 1;
            // Without its VARIADIC argument such a function is found by position only.
            let by_position = function.variadic && !given.contains(&last);
            let args = given.iter().map(|i| {
                let column = catalog::quote_identifier(&parameters[*i].name);
                match (by_position, function.variadic && *i == last) {
                    (true, _) => format!("r.{column}"),
                    (false, true) => format!("VARIADIC {column} => r.{column}"),
                    (false, false) => format!("{column} => r.{column}"),
                }
            });
            let args = args.collect::<Vec<_>>().join(", ");
            format!("SELECT {name}({args}) FROM {}", record(&parameters, given))
        }
    }
}

fn record(parameters: &[Parameter], given: &[usize]) -> String {
    let columns = given
        .iter()
        .map(|i| {
            format!(
                "{} {}",
                catalog::quote_identifier(&parameters[*i].name),
                parameters[*i].type_name
            )
        })
        .collect::<Vec<_>>()
        .join(", ");
    format!("pg_catalog.jsonb_to_record($1) AS r({columns})")
}

/// CALL takes no subquery in its arguments: they are computed first and passed as typed values.
fn call_procedure(
    function: &Function,
    how: &Call,
    input: &Json,
    run: impl Fn(&str, &[Oid], &[Option<Datum>]) -> Output,
) -> Option<Json> {
    let sql = call_statement(function, how, |position| format!("${}", position + 1));
    let output = match how {
        Call::Whole { .. } => run(&sql, &[types::JSONB], &[Some(input.datum())]),
        Call::Named(given) => {
            let parameters = inputs(function);
            if given.is_empty() {
                run(&sql, &[], &[])
            } else {
                let columns = given
                    .iter()
                    .map(|i| format!("r.{}", catalog::quote_identifier(&parameters[*i].name)));
                let select = format!(
                    "SELECT {} FROM {}",
                    columns.collect::<Vec<_>>().join(", "),
                    record(&parameters, given)
                );
                let values = plan(&select, &[types::JSONB]).run(&[Some(input.datum())]);
                let arg_types = values.column_types();
                let output = run(&sql, &arg_types, &values.row_datums(0));
                values.free();
                output
            }
        }
    };
    let result = match (output.count, output.width()) {
        (0, _) | (_, 0) => None,
        (_, 1) => output.json(0, 0),
        _ => Some(output.row_json(0)),
    };
    output.free();
    result
}

/// `CALL p(a => ..., b => NULL)`; `value`: what stands for a given argument, by its position among those.
fn call_statement(procedure: &Function, how: &Call, value: impl Fn(usize) -> String) -> String {
    let args: Vec<String> = match how {
        Call::Whole { type_name } => {
            let args = procedure.parameters.iter().map(|(_, mode)| match mode {
                Mode::In => format!("$1::pg_catalog.{type_name}"),
                Mode::InOut { .. } | Mode::Out => "NULL".to_owned(),
            });
            args.collect()
        }
        Call::Named(given) => {
            let parameters = inputs(procedure);
            let given: Vec<&str> = given.iter().map(|i| parameters[*i].name.as_str()).collect();
            let args = procedure.parameters.iter().filter_map(|(parameter, mode)| {
                let column = catalog::quote_identifier(&parameter.name);
                match given.iter().position(|name| *name == parameter.name) {
                    Some(position) => Some(format!("{column} => {}", value(position))),
                    None if matches!(mode, Mode::Out | Mode::InOut { has_default: false }) => {
                        Some(format!("{column} => NULL"))
                    }
                    None => None,
                }
            });
            args.collect()
        }
    };
    format!("CALL {}({})", qualified(procedure), args.join(", "))
}

/// Runs SQL text with the input as `$1`.
fn run_sql(sql: &str, input: &Json) -> Option<Json> {
    let args = [Some(input.datum())];
    let cached = with_cache(|cache| cache.plans.contains_key(&plan_key(sql, &[types::JSONB])));
    let output = if cached || spi::count_statements(sql) == 1 {
        plan(sql, &[types::JSONB]).run(&args)
    } else {
        spi::run_text(sql, &[types::JSONB], &args)
    };
    let result = shape(&output);
    output.free();
    result
}

/// Rows as an array, of values if there is one column; else the number of rows touched; else nothing. The form depends
/// on the statement, never on how many rows there happen to be.
fn shape(output: &Output) -> Option<Json> {
    if output.has_rows {
        let one = output.width() == 1;
        let rows = (0..output.count).map(|row| {
            if one {
                output.json(row, 0)
            } else {
                Some(output.row_json(row))
            }
        });
        Some(array(rows))
    } else if output.counts {
        Some(Json::parse(&output.count.to_string()))
    } else {
        None
    }
}

fn array(items: impl Iterator<Item = Option<Json>>) -> Json {
    let items: Vec<String> = items
        .map(|item| item.map_or_else(|| "null".to_owned(), |item| item.to_text()))
        .collect();
    Json::parse(&format!("[{}]", items.join(",")))
}

/// What this process knows of functions and statements, as long as no function changes.
#[derive(Default)]
struct Cache {
    generation: u64,
    names: HashMap<(String, String, u32), Vec<Rc<Function>>>,
    plans: HashMap<PlanKey, UserPlan>,
    /// Outdated plans. One of them may be running right now (a step that creates a function, then starts a workflow), so
    /// that they are freed by [`sweep`] only.
    retired: Vec<UserPlan>,
}

/// Text, `search_path`, parameter types: the same text may mean other tables under another path.
type PlanKey = (String, String, Vec<Oid>);

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::new(Cache::default());
}

/// Plans that a process keeps. Generated SQL (a literal in each text) would fill memory otherwise.
const MAX_PLANS: usize = 500;

fn with_cache<T>(f: impl FnOnce(&mut Cache) -> T) -> T {
    let generation = catalog::functions_generation();
    CACHE.with_borrow_mut(|cache| {
        if cache.generation != generation || cache.plans.len() > MAX_PLANS {
            cache.retired.extend(cache.plans.drain().map(|(_, plan)| plan));
            cache.names.clear();
            cache.generation = generation;
        }
        f(cache)
    })
}

thread_local! {
    static RUNNING: Cell<u32> = const { Cell::new(0) };
}

/// While it lives, a plan of this module may be running.
struct Running;

impl Running {
    fn begin() -> Self {
        RUNNING.set(RUNNING.get() + 1);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(RUNNING.get() - 1);
    }
}

/// Frees outdated plans, unless user code that one of them runs has got us here.
pub(crate) fn sweep() {
    if RUNNING.get() > 0 {
        return;
    }
    CACHE.with_borrow_mut(|cache| cache.retired.drain(..).for_each(UserPlan::free));
}

fn plan_key(sql: &str, types: &[Oid]) -> PlanKey {
    (sql.to_owned(), scope::search_path(), types.to_vec())
}

fn plan(sql: &str, types: &[Oid]) -> UserPlan {
    let key = plan_key(sql, types);
    if let Some(plan) = with_cache(|cache| cache.plans.get(&key).copied()) {
        return plan;
    }
    let plan = UserPlan::prepare(sql, types);
    with_cache(|cache| cache.plans.insert(key, plan));
    plan
}
