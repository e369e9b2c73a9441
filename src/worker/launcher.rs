//! The launcher: one a cluster. Starts a scheduler in every database that has the extension.
//!
//! It cannot see from outside which databases have it. So after a start it tries each: a scheduler that finds no
//! extension takes its database off the list and ends. Later, CREATE EXTENSION puts its database on the list.

use std::collections::HashMap;

use crate::hub::databases;
use crate::hub::slots::{self, Kind};
use crate::pg::clock::{Steady, steady};
use crate::pg::process::{self, WorkerSpec, worker_main};
use crate::pg::{Oid, catalog, errdata, latch, txn};

worker_main!(pg_workflow_launcher, main);

/// Pause before a scheduler that has ended is started again.
const RESTART_PAUSE: i64 = 1_000_000;

fn main(_: Oid) {
    process::install_signal_handlers();
    process::connect(None, None);
    slots::register(Kind::Launcher, Oid::INVALID);
    match txn::transaction(catalog::connectable_databases) {
        Ok(databases) => databases.into_iter().for_each(databases::want_scheduler),
        Err(error) => errdata::log(error),
    }
    let mut started: HashMap<Oid, Steady> = HashMap::new();
    let mut complained = false;
    loop {
        txn::check_for_interrupts();
        process::reload_if_asked();
        let now = steady();
        let mut next: Option<Steady> = None;
        let mut later = |at: Steady| next = Some(next.map_or(at, |other| other.min(at)));
        let missing = databases::without_scheduler();
        started.retain(|database, _| missing.contains(database));
        for database in missing {
            let due = started.get(&database).map_or(now, |at| at + RESTART_PAUSE);
            if due > now {
                later(due);
                continue;
            }
            started.insert(database, now);
            later(now + RESTART_PAUSE);
            let spec = WorkerSpec {
                kind: "pg_workflow scheduler",
                title: &format!("pg_workflow scheduler for database {}", database.to_u32()),
                function: "pg_workflow_scheduler",
                database,
                role: Oid::INVALID,
            };
            if process::start_dynamic(&spec) {
                complained = false;
            } else {
                slots::make_room(database, Oid::INVALID);
                if !std::mem::replace(&mut complained, true) {
                    super::log_no_slot(&format!("the scheduler of database {}", database.to_u32()));
                }
            }
        }
        latch::wait(next.map(|at| at - steady()));
    }
}
