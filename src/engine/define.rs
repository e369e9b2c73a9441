//! Which code a workflow name means: names given by `wf_define`, functions, and the versions recorded of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pg_workflow_core::options::WorkflowOptions;

use crate::engine::{authority, calls, target};
use crate::error::Error;
use crate::pg::{Json, Oid, catalog, scope};
use crate::store::definitions::{self, Definition};
use crate::store::functions::{self, Function};
use crate::store::home;

/// What a start needs to know of its workflow.
pub(crate) struct Resolved {
    pub(crate) def_id: i32,
    pub(crate) version: i32,
    pub(crate) options: WorkflowOptions,
    /// The function, qualified and with its arguments.
    pub(crate) function: String,
}

type Key = (String, String, String, String);

#[derive(Default)]
struct Cache {
    generation: u64,
    definitions: HashMap<Key, (i32, i32)>,
    may_own: HashMap<u32, bool>,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::new(Cache::default());
}

fn with_cache<T>(f: impl FnOnce(&mut Cache) -> T) -> T {
    let generation = catalog::functions_generation();
    CACHE.with_borrow_mut(|cache| {
        if cache.generation != generation {
            *cache = Cache {
                generation,
                ..Cache::default()
            };
        }
        f(cache)
    })
}

/// Name of the function behind `workflow` for the current user, and options.
fn named(workflow: &str) -> (String, Json) {
    let role = scope::current_user();
    let named = scope::as_engine(|| definitions::named(workflow, role));
    named.unwrap_or_else(|| (workflow.to_owned(), Json::parse("{}")))
}

/// True if `workflow` means a function for the current user.
pub(crate) fn exists(workflow: &str) -> bool {
    !target::candidates(&named(workflow).0).is_empty()
}

/// The function that `workflow` means for the current user and an input, and its options.
pub(crate) fn find(workflow: &str, input: &Json) -> Result<(Rc<Function>, Json), Error> {
    let (name, options) = named(workflow);
    let candidates = target::candidates(&name);
    if candidates.is_empty() {
        return Err(Error::UnknownWorkflow(workflow.to_owned()));
    }
    Ok((target::choose(&name, input, &candidates)?, options))
}

/// Names the code that `workflow` means for the current user and an input, recording its version if it is new.
pub(crate) fn resolve(workflow: &str, input: &Json) -> Result<Resolved, Error> {
    let (function, options) = find(workflow, input)?;
    target::check_values(&function, input);
    target::sweep();
    resolve_function(workflow, &function, &options)
}

fn resolve_function(workflow: &str, function: &Function, options: &Json) -> Result<Resolved, Error> {
    let search_path = scope::search_path();
    let key = (
        workflow.to_owned(),
        function.signature.clone(),
        search_path.clone(),
        options.to_text(),
    );
    let (def_id, version) = match with_cache(|cache| cache.definitions.get(&key).copied()) {
        Some(known) => known,
        None => {
            let (known, committed) = scope::as_engine(|| record(workflow, function, search_path, options))?;
            if committed {
                with_cache(|cache| cache.definitions.insert(key, known));
            }
            known
        }
    };
    let options = WorkflowOptions::from_json(&options.to_value(), &calls::duration)?;
    Ok(Resolved {
        def_id,
        version,
        options,
        function: function_text(function),
    })
}

/// As `store::runs::Found::function` has it.
fn function_text(function: &Function) -> String {
    format!("{}.{}({})", function.schema, function.name, function.args)
}

/// Id and version of the definition, and whether it was there before (a row of our own may yet be rolled back).
pub(super) fn record(
    workflow: &str,
    function: &Function,
    search_path: String,
    options: &Json,
) -> Result<((i32, i32), bool), Error> {
    let gone = || Error::UnknownWorkflow(workflow.to_owned());
    let oid = functions::lookup(&function.schema, &function.name, &function.args).ok_or_else(gone)?;
    let (source, md5) = functions::source(oid).ok_or_else(gone)?;
    let definition = Definition {
        workflow: workflow.to_owned(),
        version: 0,
        schema: function.schema.clone(),
        function: function.name.clone(),
        args: function.args.clone(),
        function_owner: function.owner,
        md5,
        source,
        search_path,
        options: options.clone(),
    };
    if let Some(known) = definitions::find(&definition) {
        return Ok(known);
    }
    home::claim();
    Ok((definitions::insert(&definition).ok_or_else(gone)?, false))
}

/// Refuses owners whose process could not connect.
pub(crate) fn check_owner(role: Oid) -> Result<(), Error> {
    let cached = with_cache(|cache| cache.may_own.get(&role.to_u32()).copied());
    let may = cached.unwrap_or_else(|| {
        let may = scope::as_engine(|| functions::role_can_login(role));
        with_cache(|cache| cache.may_own.insert(role.to_u32(), may));
        may
    });
    if may {
        Ok(())
    } else {
        Err(Error::RoleCannotLogin(crate::pg::fmgr::role_name(role)))
    }
}

/// Gives a workflow a name and options; returns the version of its code.
pub(crate) fn define(name: &str, function: &str, options: &Json) -> Result<i32, Error> {
    let role = scope::current_user();
    authority::check_use(role)?;
    WorkflowOptions::from_json(&options.to_value(), &calls::duration)?;
    let candidates = target::candidates(function);
    let found = match candidates.as_slice() {
        [] => return Err(Error::NoSuchFunction(function.to_owned())),
        [one] => one,
        several => {
            return Err(Error::AmbiguousFunction {
                name: function.to_owned(),
                candidates: several.iter().map(|f| f.signature.clone()).collect(),
            });
        }
    };
    if found.is_special {
        return Err(Error::NotAFunction(found.signature.clone()));
    }
    if !found.executable {
        return Err(Error::NoExecute(found.signature.clone()));
    }
    let resolved = resolve_function(name, found, options)?;
    let qualified = format!(
        "{}.{}",
        catalog::quote_identifier(&found.schema),
        catalog::quote_identifier(&found.name)
    );
    scope::as_engine(|| definitions::define(name, role, &qualified, options));
    Ok(resolved.version)
}

/// Removes a name; false if there was none of the current user's.
pub(crate) fn undefine(name: &str) -> bool {
    let role = scope::current_user();
    scope::as_engine(|| definitions::undefine(name, role))
}
