//! Functions of the user as Postgres' catalogues describe them.

use pg_workflow_core::signature::Parameter;

use super::statement;
use crate::pg::spi::Row;
use crate::pg::{Json, Oid, scope};

statement!(GET, "function_get", OID, OID);
statement!(SOURCE, "function_source", OID);
statement!(BODY, "function_body", OID);
statement!(LOOKUP, "function_lookup", TEXT, TEXT, TEXT);
statement!(CAN_LOGIN, "role_can_login", OID);
statement!(LOCK_VERSIONS, "version_lock");
statement!(MAY_CREATE, "versions_may_create", OID);

/// Which way a parameter's value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    In,
    /// With an own default (procedures; without one it gets NULL).
    InOut {
        has_default: bool,
    },
    Out,
}

/// A function or procedure.
pub(crate) struct Function {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) args: String,
    pub(crate) owner: Oid,
    pub(crate) is_procedure: bool,
    /// Aggregate or window function: not callable here.
    pub(crate) is_special: bool,
    pub(crate) returns_set: bool,
    /// In the order of declaration; OUT parameters only of procedures, for which CALL wants a placeholder.
    pub(crate) parameters: Vec<(Parameter, Mode)>,
    /// The last input parameter is VARIADIC.
    pub(crate) variadic: bool,
    /// Name and type of a parameter that no JSON value can be converted to.
    pub(crate) pseudo: Option<(String, String)>,
    /// It returns a pseudo-type that no SQL expression can have, such as `trigger`.
    pub(crate) returns_nothing_usable: bool,
    pub(crate) executable: bool,
    /// Qualified, with argument types: for messages.
    pub(crate) signature: String,
}

/// Describes a function as `role` may use it.
pub(crate) fn get(oid: Oid, role: Oid) -> Option<Function> {
    scope::with_plain_output(|| GET.first(&[&oid, &role], describe))
}

fn describe(row: &Row) -> Function {
    let kind: String = row.need(3);
    let is_procedure = kind == "p";
    let inputs: i32 = row.need(5);
    let defaults: i32 = row.need(6);
    let all = row.need::<Json>(10).to_value();
    let text = |value: &serde_json::Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let mut parameters = Vec::new();
    let mut pseudo = None;
    let mut input = 0;
    for item in all.as_array().into_iter().flatten() {
        let mode = match text(item, "mode").as_str() {
            "o" if is_procedure => Mode::Out,
            "o" | "t" => continue,
            // Defaults belong to the last inputs.
            "b" => Mode::InOut {
                has_default: input >= inputs - defaults,
            },
            _ => Mode::In,
        };
        // An INOUT parameter of a procedure gets NULL if nothing else.
        let may_miss = is_procedure && matches!(mode, Mode::InOut { .. });
        let has_default = may_miss || input >= inputs - defaults;
        if mode != Mode::Out {
            input += 1;
        }
        if item["pseudo"].as_bool().unwrap_or_default() {
            pseudo = Some((text(item, "name"), text(item, "type")));
        }
        parameters.push((
            Parameter {
                name: text(item, "name"),
                type_name: text(item, "type"),
                has_default,
            },
            mode,
        ));
    }
    Function {
        schema: row.need(0),
        name: row.need(1),
        args: row.need(2),
        is_procedure,
        is_special: kind == "a" || kind == "w",
        returns_set: row.need(4),
        variadic: row.need(7),
        executable: row.need(8),
        owner: row.need(9),
        parameters,
        pseudo,
        signature: row.need(11),
        returns_nothing_usable: row.need(12),
    }
}

/// Source text of a function and its digest.
pub(crate) fn source(oid: Oid) -> Option<(String, String)> {
    scope::with_plain_output(|| SOURCE.first(&[&oid], |row| (row.need(0), row.need(1))))
}

/// What can be read of a function.
pub(crate) struct Body {
    pub(crate) language: String,
    pub(crate) source: String,
    /// That it sets for itself.
    pub(crate) search_path: Option<String>,
}

pub(crate) fn body(oid: Oid) -> Option<Body> {
    BODY.first(&[&oid], |row| Body {
        language: row.need(0),
        source: row.need(1),
        search_path: row.get(2),
    })
}

/// The function that has this name and these arguments now.
pub(crate) fn lookup(schema: &str, name: &str, args: &str) -> Option<Oid> {
    scope::with_plain_output(|| LOOKUP.first(&[&schema, &name, &args], |row| row.need(0)))
}

pub(crate) fn role_can_login(role: Oid) -> bool {
    CAN_LOGIN.first(&[&role], |row| row.need(0)).unwrap_or(false)
}

/// Waits for whoever is restoring a version.
pub(crate) fn lock_versions() {
    LOCK_VERSIONS.run(&[]);
}

/// True if a role may create functions in the schema of old versions as it is: a superuser.
pub(crate) fn may_create_versions(role: Oid) -> bool {
    MAY_CREATE.first(&[&role], |row| row.need(0)).unwrap_or(false)
}
