//! `wf_check`: what is wrong with a workflow function, as far as its source and the catalogue tell.

use std::ffi::CString;

use pg_workflow_core::lint::{self, Finding, Read, Severity, Target};
use pg_workflow_core::target::is_name;

use crate::engine::{authority, define, target};
use crate::error::Error;
use crate::pg::{Oid, PgError, catalog, scope, spi, txn};
use crate::store::functions::{self, Body, Function};
use crate::store::{definitions, remarks};

/// Findings on a function that is given by its name, by its name with argument types, or by a name of `wf_define`.
pub(crate) fn check(name: &str) -> Result<Vec<Finding>, Error> {
    let role = scope::current_user();
    let (oid, function) = find(name, role)?;
    if function.is_special {
        return Err(Error::NotAFunction(function.signature));
    }
    let mut findings = Vec::new();
    let mut whole = |severity, check, message: String| {
        findings.push(Finding {
            line: None,
            severity,
            check,
            message,
        });
    };
    if let Err(error) = target::check_callable(&function) {
        whole(Severity::Error, "workflow", error.to_string());
    } else if !target::takes_whole(&function) && has_unnamed(&function) {
        let message = "a parameter has no name, by which a key of the input could reach it".to_owned();
        whole(Severity::Error, "workflow", message);
    }
    let Some(body) = scope::as_engine(|| functions::body(oid)) else {
        return Err(Error::NoSuchFunction(name.to_owned()));
    };
    if matches!(body.language.as_str(), "plpgsql" | "sql") {
        let report = lint::look(&body.source);
        findings.extend(report.findings);
        findings.extend(report.targets.iter().filter_map(check_target));
        findings.extend(report.reads.iter().filter_map(|read| check_read(read, &body)));
    } else {
        let message = format!(
            "the body was not read: it is in {}, not in plpgsql or sql",
            body.language
        );
        whole(Severity::Note, "body", message);
    }
    findings.sort();
    Ok(findings)
}

/// The source of a workflow function that is given as for [`check`], if it is one that can be read.
pub(crate) fn source(name: &str) -> Result<Option<String>, Error> {
    let (oid, function) = find(name, scope::current_user())?;
    let body = scope::as_engine(|| functions::body(oid)).filter(|_| !function.is_special);
    let body = body.ok_or_else(|| Error::NoSuchFunction(name.to_owned()))?;
    Ok(matches!(body.language.as_str(), "plpgsql" | "sql").then_some(body.source))
}

fn find(name: &str, role: Oid) -> Result<(Oid, Function), Error> {
    let named = scope::as_engine(|| definitions::named(name, role));
    let name = named.map_or_else(|| name.to_owned(), |(function, _)| function);
    let found = if name.contains('(') {
        catalog::function_signed(&name).into_iter().collect()
    } else {
        catalog::functions_named(&name)
    };
    let described = scope::as_engine(|| {
        let described = found.iter().filter_map(|oid| Some((*oid, functions::get(*oid, role)?)));
        described.collect::<Vec<_>>()
    });
    if described.len() > 1 {
        return Err(Error::AmbiguousFunction {
            name,
            candidates: described.into_iter().map(|(_, function)| function.signature).collect(),
        });
    }
    described.into_iter().next().ok_or(Error::NoSuchFunction(name))
}

fn has_unnamed(function: &Function) -> bool {
    function
        .parameters
        .iter()
        .any(|(parameter, _)| parameter.name.is_empty() && !parameter.has_default)
}

/// Refuses a workflow that the current user could not start with any input.
pub(crate) fn check_startable(workflow: &str) -> Result<(), Error> {
    let role = scope::current_user();
    define::check_owner(role)?;
    authority::check_use(role)?;
    let named = scope::as_engine(|| definitions::named(workflow, role));
    let name = named.map_or_else(|| workflow.to_owned(), |(function, _)| function);
    let candidates = target::candidates(&name);
    let mut checked = candidates.iter().map(|function| target::check_callable(function));
    let first = checked
        .next()
        .ok_or_else(|| Error::UnknownWorkflow(workflow.to_owned()))?;
    if checked.any(|callable| callable.is_ok()) {
        Ok(())
    } else {
        first
    }
}

/// Targets are found by the `search_path` of the session that starts the workflow: here, the caller's.
fn check_target(found: &Target) -> Option<Finding> {
    let wrong = if is_name(&found.target) {
        let candidates = target::candidates(&found.target);
        match candidates.as_slice() {
            [] => Some(Error::UnknownFunction(found.target.clone()).to_string()),
            [first, rest @ ..] => {
                let first = target::check_callable(first);
                let rest = rest.iter().any(|function| target::check_callable(function).is_ok());
                first.err().filter(|_| !rest).map(|error| error.to_string())
            }
        }
    } else {
        match looked(|| spi::count_statements(&found.target)) {
            Ok(0) => Some("it is empty".to_owned()),
            Ok(_) => None,
            Err(error) => Some(error.message),
        }
    };
    wrong.map(|wrong| Finding {
        line: Some(found.line),
        severity: Severity::Error,
        check: "target",
        message: format!("target of {}: {wrong}", found.function),
    })
}

fn check_read(read: &Read, body: &Body) -> Option<Finding> {
    let look = || looked(|| catalog::relation_named(&read.relation)).ok().flatten();
    let path = body
        .search_path
        .as_ref()
        .and_then(|path| CString::new(path.as_str()).ok());
    let relation = match path {
        Some(path) => scope::with_settings(&[(c"search_path", &path)], look),
        None => look(),
    };
    // What is no table is a variable or something that a step makes.
    let name = scope::as_engine(|| remarks::relation(relation?))?;
    Some(Finding {
        line: Some(read.line),
        severity: Severity::Warning,
        check: "read",
        message: format!("{name} is read outside of a step: a replay may find other values there"),
    })
}

/// Runs `f`, whose errors are findings.
fn looked<T>(f: impl FnOnce() -> T) -> Result<T, PgError> {
    txn::trial(|| Ok(f()))
}
