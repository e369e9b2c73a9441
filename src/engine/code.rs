//! The code of an instance: pinned to the version that it was started on.
//!
//! A definition keeps the source. As long as the function is still the same, it is called itself; once it was replaced
//! or dropped, the old version is recreated in schema `wf_versions`, owned by the old function's owner.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pg_workflow_core::options::WorkflowOptions;

use crate::engine::calls;
use crate::error::Error;
use crate::pg::fmgr::role_name;
use crate::pg::{Oid, PgError, catalog, scope, spi, txn};
use crate::store::definitions::{self, Definition};
use crate::store::functions::{self, Function};

const VERSIONS: &str = "wf_versions";

/// What running an instance needs to know of its workflow.
pub(crate) struct Code {
    pub(crate) workflow: String,
    pub(crate) search_path: String,
    pub(crate) options: WorkflowOptions,
    pub(crate) function: Rc<Function>,
}

#[derive(Default)]
struct Cache {
    generation: u64,
    codes: HashMap<(i32, u32), Rc<Code>>,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::new(Cache::default());
}

/// The code of a definition, to be run by `owner`. As the engine.
pub(crate) fn load(def_id: i32, owner: Oid) -> Result<Rc<Code>, PgError> {
    let generation = catalog::functions_generation();
    let key = (def_id, owner.to_u32());
    let cached = CACHE.with_borrow_mut(|cache| {
        if cache.generation != generation {
            cache.codes.clear();
            cache.generation = generation;
        }
        cache.codes.get(&key).cloned()
    });
    if let Some(code) = cached {
        return Ok(code);
    }
    let lost = |detail: String| Error::VersionLost {
        workflow: format!("definition {def_id}"),
        version: 0,
        detail,
    };
    let definition = definitions::get(def_id).ok_or_else(|| lost("Its definition is missing.".to_owned()))?;
    let function = pinned(&definition, owner)?;
    let options = WorkflowOptions::from_json(&definition.options.to_value(), &calls::duration).unwrap_or_default();
    let code = Rc::new(Code {
        workflow: definition.workflow,
        search_path: definition.search_path,
        options,
        function: Rc::new(function),
    });
    CACHE.with_borrow_mut(|cache| cache.codes.insert(key, Rc::clone(&code)));
    Ok(code)
}

/// The function of a name, if it still is what it was when its source had this digest. As the engine.
pub(crate) fn current(schema: &str, name: &str, args: &str, md5: &str) -> Option<Oid> {
    functions::lookup(schema, name, args)
        .filter(|oid| functions::source(*oid).is_some_and(|(_, current)| current == md5))
}

/// True if a version is what its function is now, whatever this process has seen of it so far.
pub(crate) fn is_current(definition: &Definition) -> bool {
    catalog::catch_up();
    current(
        &definition.schema,
        &definition.function,
        &definition.args,
        &definition.md5,
    )
    .is_some()
}

/// Drops the restored function of a version that no definition is left of.
pub(crate) fn forget(definition: &Definition) {
    functions::lock_versions();
    let (copy, found) = copy_of(definition, definition.function_owner);
    if found.is_some() {
        let signature = copy_signature(definition, &copy);
        run_ddl(&format!("ALTER EXTENSION pg_workflow DROP ROUTINE {signature}"));
        run_ddl(&format!("DROP ROUTINE {signature}"));
    }
}

fn pinned(definition: &Definition, owner: Oid) -> Result<Function, PgError> {
    if let Some(oid) = current(
        &definition.schema,
        &definition.function,
        &definition.args,
        &definition.md5,
    ) && let Some(function) = functions::get(oid, owner)
    {
        return Ok(function);
    }
    // Pinned code is no way around a REVOKE.
    if let Some(current) = functions::lookup(&definition.schema, &definition.function, &definition.args)
        .and_then(|oid| functions::get(oid, owner))
        && !current.executable
    {
        return Err(Error::NoExecute(current.signature).into());
    }
    // One process at a time makes a copy or grants on it, until it commits; the lock is taken only where the catalogue is
    // to be changed.
    let look = || copy_of(definition, owner);
    let ready = |found: Option<Function>| found.filter(|function| function.executable);
    let found = match ready(look().1) {
        Some(function) => Some(function),
        None => {
            functions::lock_versions();
            if let (copy, None) = look() {
                restore(definition, &copy)?;
            }
            let (copy, found) = look();
            // The owner had the privilege when the instance was started.
            if found.is_some_and(|function| !function.executable) {
                run_ddl(&format!(
                    "GRANT EXECUTE ON ROUTINE {} TO {}",
                    copy_signature(definition, &copy),
                    catalog::quote_identifier(&role_name(owner))
                ));
            }
            look().1
        }
    };
    let function = found.ok_or_else(|| lost(definition, "It is not there after its creation.".to_owned()))?;
    if is_unaltered(definition, &function) {
        Ok(function)
    } else {
        Err(lost(definition, format!("{} was altered.", function.signature)).into())
    }
}

fn lost(definition: &Definition, detail: String) -> Error {
    Error::VersionLost {
        workflow: definition.workflow.clone(),
        version: definition.version,
        detail,
    }
}

/// Name of the copy, and the copy as `role` may use it if it is there. Equal code of two owners has two: a copy may be
/// SECURITY DEFINER.
fn copy_of(definition: &Definition, role: Oid) -> (String, Option<Function>) {
    let look =
        |name: &str| functions::lookup(VERSIONS, name, &definition.args).and_then(|oid| functions::get(oid, role));
    let plain = format!("v_{}", definition.md5);
    match look(&plain) {
        Some(other) if other.owner != definition.function_owner => {
            let own = format!("{plain}_{}", definition.function_owner.to_u32());
            let found = look(&own);
            (own, found)
        }
        found => (plain, found),
    }
}

/// False if the owner of a copy has changed what its names mean or with whose privileges it runs, by ALTER FUNCTION: what
/// stands before the body. (The body cannot be altered, and one that is kept parsed may be printed differently.)
fn is_unaltered(definition: &Definition, copy: &Function) -> bool {
    fn head(source: &str, schema: &str, name: &str) -> Option<String> {
        let (_, rest) = source.split_once(&format!(
            "{}.{}(",
            catalog::quote_identifier(schema),
            catalog::quote_identifier(name)
        ))?;
        let body = ["\nAS ", "\nBEGIN ATOMIC", "\nRETURN "];
        let end = body.iter().filter_map(|begin| rest.find(begin)).min()?;
        Some(rest[..end].to_owned())
    }
    let printed = functions::lookup(&copy.schema, &copy.name, &copy.args).and_then(functions::source);
    copy.owner == definition.function_owner
        && printed.and_then(|(source, _)| head(&source, &copy.schema, &copy.name))
            == head(&definition.source, &definition.schema, &definition.function)
}

fn copy_signature(definition: &Definition, copy: &str) -> String {
    format!("{VERSIONS}.{copy}({})", definition.args)
}

/// Creates the old version under the name `copy`.
fn restore(definition: &Definition, copy: &str) -> Result<(), PgError> {
    let name = format!(
        "{}.{}(",
        catalog::quote_identifier(&definition.schema),
        catalog::quote_identifier(&definition.function)
    );
    let (create, rest) = ["FUNCTION", "PROCEDURE"]
        .into_iter()
        .find_map(|sort| {
            let head = format!("CREATE OR REPLACE {sort} {name}");
            Some((format!("CREATE {sort}"), definition.source.strip_prefix(&head)?))
        })
        .ok_or_else(|| lost(definition, "Its source does not begin as expected.".to_owned()))?;
    let owner = role_name(definition.function_owner);
    let signature = copy_signature(definition, copy);
    // In a subtransaction, so that what fails here fails this instance and not its neighbours. CREATE FUNCTION evaluates
    // the constants in the source, down to the CHECK of a domain, which is anybody's function: so it runs as the old
    // function's owner, who is also to own the copy. As a member of the extension the copy is not dumped (the definition
    // is) and goes with DROP EXTENSION.
    let owner_name = catalog::quote_identifier(&owner);
    txn::subtransaction(|| {
        // For this moment only, and not where it would take a superuser's own privilege away afterwards.
        let lend = !functions::may_create_versions(definition.function_owner);
        if lend {
            run_ddl(&format!("GRANT CREATE ON SCHEMA {VERSIONS} TO {owner_name}"));
        }
        scope::as_restricted(definition.function_owner, || {
            run_ddl("SET LOCAL check_function_bodies = off");
            run_ddl(&format!("{create} {VERSIONS}.{copy}({rest}"));
            run_ddl(&format!("REVOKE ALL ON ROUTINE {signature} FROM PUBLIC"));
        });
        if lend {
            run_ddl(&format!("REVOKE CREATE ON SCHEMA {VERSIONS} FROM {owner_name}"));
        }
        run_ddl(&format!("ALTER EXTENSION pg_workflow ADD ROUTINE {signature}"));
    })
    .map_err(|error| lost(definition, format!("{}.", error.message)).into())
}

fn run_ddl(sql: &str) {
    spi::run_text(sql, &[], &[]).free();
}
