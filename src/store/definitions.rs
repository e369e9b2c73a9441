//! `workflows` and `definitions`: names given to workflows, and versions of their code.

use super::statement;
use crate::pg::{Json, Oid, txn};

statement!(FIND, "definition_find", TEXT, TEXT, TEXT, JSONB, OID);
statement!(
    INSERT,
    "definition_insert",
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    OID,
    TEXT,
    TEXT,
    TEXT,
    JSONB
);
statement!(GET, "definition_get", INT4);
statement!(KNOWN, "definition_known", TEXT);
statement!(NAMED, "workflow_find", TEXT, OID);
statement!(DEFINE, "workflow_define", TEXT, OID, TEXT, JSONB);
statement!(UNDEFINE, "workflow_undefine", TEXT, OID);

/// What pins the code of an instance.
pub(crate) struct Definition {
    pub(crate) workflow: String,
    pub(crate) version: i32,
    pub(crate) schema: String,
    pub(crate) function: String,
    pub(crate) args: String,
    pub(crate) function_owner: Oid,
    pub(crate) md5: String,
    pub(crate) source: String,
    pub(crate) search_path: String,
    pub(crate) options: Json,
}

/// Id and version of an equal definition, if there is one, and whether its row is there to stay: one of this very
/// transaction may yet be rolled back.
pub(crate) fn find(definition: &Definition) -> Option<((i32, i32), bool)> {
    FIND.first(
        &[
            &definition.workflow,
            &definition.md5,
            &definition.search_path,
            &definition.options,
            &definition.function_owner,
        ],
        |row| ((row.need(0), row.need(1)), !txn::is_own(row.need::<i32>(2))),
    )
}

/// Records a definition (its `version` is not read); returns its id and version.
pub(crate) fn insert(definition: &Definition) -> Option<(i32, i32)> {
    INSERT.first(
        &[
            &definition.workflow,
            &definition.schema,
            &definition.function,
            &definition.args,
            &definition.function_owner,
            &definition.md5,
            &definition.source,
            &definition.search_path,
            &definition.options,
        ],
        |row| (row.need(0), row.need(1)),
    )
}

pub(crate) fn get(def_id: i32) -> Option<Definition> {
    GET.first(&[&def_id], |row| Definition {
        workflow: row.need(0),
        version: row.need(1),
        schema: row.need(2),
        function: row.need(3),
        args: row.need(4),
        function_owner: row.need(5),
        md5: row.need(6),
        source: row.need(7),
        search_path: row.need(8),
        options: row.need(9),
    })
}

/// True if instances of a workflow were started, or `role` may use a name that was given to one.
pub(crate) fn is_known(workflow: &str, role: Oid) -> bool {
    KNOWN.first(&[&workflow], |_| ()).is_some() || named(workflow, role).is_some()
}

/// Function (as regprocedure text) and options behind a name that `role` may use.
pub(crate) fn named(name: &str, role: Oid) -> Option<(String, Json)> {
    NAMED.first(&[&name, &role], |row| (row.need(0), row.need(1)))
}

pub(crate) fn define(name: &str, owner: Oid, target: &str, options: &Json) {
    DEFINE.run(&[&name, &owner, &target, options]);
}

/// Removes a name of `role`'s; false if there was none.
pub(crate) fn undefine(name: &str, role: Oid) -> bool {
    !UNDEFINE.query(&[&name, &role], |_| ()).is_empty()
}
