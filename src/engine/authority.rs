//! Who may see and control whose instances, and who may start any. Every function asks here; the views ask [`sees_all`], and
//! else for the owner's privileges.
//!
//! A role may do everything with the instances of the roles whose privileges it has. What it may do beyond that are privileges
//! of the database, given by `wf_grant`. None of them lets anybody put data into an instance of others, or choose what it runs:
//! its code takes what it gets for its owner's.

use std::ffi::CStr;

use crate::error::Error;
use crate::pg::fmgr::role_name;
use crate::pg::{Oid, catalog, scope};
use crate::store::runs::{self, Brief};

/// Each is EXECUTE on a function: see `sql/functions/31_privileges.sql`.
const USE: &CStr = c"may_use";
const VIEW: &CStr = c"may_view";
const OPERATE: &CStr = c"may_operate";

/// `None`: the schema is of a version that had no such privilege.
fn has(role: Oid, privilege: &CStr) -> Option<bool> {
    catalog::may_execute(c"wf_internal", privilege, role)
}

/// True if a role may see the instances of all roles.
pub(crate) fn sees_all(role: Oid) -> bool {
    has(role, VIEW).unwrap_or_else(|| scope::is_superuser(role)) || operates_all(role)
}

/// True if a role may control the instances of all roles.
pub(crate) fn operates_all(role: Oid) -> bool {
    has(role, OPERATE).unwrap_or_else(|| scope::is_superuser(role))
}

/// Refuses a role that is not to start workflows.
pub(crate) fn check_use(role: Oid) -> Result<(), Error> {
    if has(role, USE).unwrap_or(true) {
        Ok(())
    } else {
        Err(Error::MayNotUse(role_name(role)))
    }
}

/// What a function is about to do with an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    See,
    /// Have it stop, end or go on, with what it has.
    Operate,
    /// Give it data, or choose what it does.
    Own,
}

/// Refuses a caller who may not do this to an instance. Who may not even see it is not told that it is there.
pub(crate) fn check(id: &str, owner: Oid, caller: Oid, access: Access) -> Result<(), Error> {
    if scope::has_privileges_of(caller, owner)
        || (access == Access::See && sees_all(caller))
        || (access == Access::Operate && operates_all(caller))
    {
        return Ok(());
    }
    let id = id.to_owned();
    Err(if sees_all(caller) {
        Error::NotYours(id)
    } else {
        Error::UnknownInstance(id)
    })
}

/// The open or last run of an id, with which the caller may do this. As the engine.
pub(crate) fn find(id: &str, caller: Oid, access: Access) -> Result<Brief, Error> {
    let run = runs::find(id).ok_or_else(|| Error::UnknownInstance(id.to_owned()))?;
    check(id, run.owner, caller, access)?;
    Ok(run)
}
