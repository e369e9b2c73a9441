//! The processes: launcher, schedulers, executors. See README.md for how they wake each other.

mod cleaner;
mod executor;
mod launcher;
mod scheduler;

use crate::engine::installed;
use crate::hub::{self, databases};
use crate::pg::process::{self, WorkerSpec};
use crate::pg::{Oid, PgError, callback, catalog, errdata, fmgr, latch, messages, reads, scope, shared, txn};
use crate::store::home::{self, Home};

/// Registers launcher, shared memory and hooks; from `_PG_init`.
pub(crate) fn init() {
    messages::init();
    fmgr::before_calls(installed::check);
    reads::note_while(crate::engine::calls::is_deciding);
    callback::on_extension_drop(crate::hub::hints::dropped);
    callback::around_database_commands(close_database, open_database);
    // pg_upgrade starts servers to read and fill catalogues: nothing else is to happen in them.
    if process::preloading() && !process::is_binary_upgrade() {
        shared::on_startup(hub::request, hub::startup);
        process::register_static(&WorkerSpec {
            kind: "pg_workflow launcher",
            title: "pg_workflow launcher",
            function: "pg_workflow_launcher",
            database: Oid::INVALID,
            role: Oid::INVALID,
        });
    }
}

/// Sends our workers out of a database and waits until they are gone, as Postgres itself does with autovacuum's.
fn close_database(database: Oid) {
    const PATIENCE: i64 = 10_000_000;
    let until = crate::pg::clock() + PATIENCE;
    while !databases::close(database) && crate::pg::clock() < until {
        // Nobody tells us when they are gone; this is the one place that looks again, while a DROP DATABASE waits.
        latch::wait(Some(10_000));
    }
}

fn open_database(database: Oid) {
    databases::open(database, catalog::database_exists(database));
}

/// What a worker finds when it looks whether it belongs here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belongs {
    Yes,
    /// The extension is not (or no longer) installed.
    NoExtension,
    /// Library and schema are of different versions, or the database is a copy: nothing is to be run.
    NotNow,
}

/// Looks at extension, version and home, in a transaction of its own.
fn belongs() -> Belongs {
    let looked = txn::transaction(|| {
        scope::as_engine(|| {
            match installed::fits() {
                None => Belongs::NoExtension,
                // home::find is of this version's schema: asked second.
                Some(true) if home::find() != Home::Elsewhere => Belongs::Yes,
                Some(_) => Belongs::NotNow,
            }
        })
    });
    looked.unwrap_or_else(|error| {
        errdata::log(error);
        Belongs::NotNow
    })
}

/// Why nothing is to be run here, in words. As the engine.
fn why_not() -> Option<String> {
    if let Some((schema, library)) = installed::difference() {
        return Some(format!(
            "its schema is of version {schema}, the library of version {library}"
        ));
    }
    (home::find() == Home::Elsewhere).then(|| "its instances belong to another installation".to_owned())
}

fn log_no_slot(what: &str) {
    errdata::log(PgError {
        hint: Some("Raise max_worker_processes.".to_owned()),
        ..PgError::new(
            errdata::pack(*b"53400"),
            format!("pg_workflow finds no free background worker slot for {what} and waits for one"),
        )
    });
}
