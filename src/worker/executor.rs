//! The executor: takes batches for one role, as which it is connected, until there is nothing to do.
//!
//! Invariant: it serves one role for life. Whatever user code leaves behind in the process (temporary tables, advisory
//! locks, prepared statements) is met by code of the same role only.
//!
//! Memory: everything Postgres allocates for a batch goes with its transaction, a turn's with its own context. What
//! lives on is bounded: caches of plans and code, both emptied when functions change.

use crate::engine::batch::{Batcher, Commits, Found};
use crate::engine::send;
use crate::hub::slots::{self, Kind};
use crate::hub::wal;
use crate::pg::clock::steady;
use crate::pg::process::{self, worker_main};
use crate::pg::{Oid, errdata, fault, interrupt, latch, scope, txn};
use crate::settings;

use super::Belongs;

worker_main!(pg_workflow_executor, main);

fn main(database: Oid) {
    process::install_signal_handlers();
    let role = process::passed_role();
    process::connect(Some(database), Some(role));
    if !slots::register(Kind::Executor, role) {
        return;
    }
    let mut batcher = Batcher::new(role);
    send::collect_hints();
    if super::belongs() != Belongs::Yes {
        return;
    }
    loop {
        process::exit_if_orphaned();
        interrupt::shield();
        txn::check_for_interrupts();
        process::reload_if_asked();
        if slots::asked_to_quit() {
            return;
        }
        // Idle from here on, so that whatever commits after the look below wakes us.
        slots::set_idle(true);
        let taken = txn::transaction(|| {
            let found = scope::as_engine(|| batcher.take(Commits::InPlace));
            // Before the commit, by which a client may learn that its instance has ended.
            scope::release_advisory_locks();
            if found == Found::Turns {
                fault("commits");
            }
            found
        });
        wal::count();
        match taken {
            Ok(Found::Turns) => {
                batcher.has_committed();
                if !batcher.run_command() {
                    return;
                }
            }
            Ok(Found::Nothing) => {
                if !sleep(&mut batcher) {
                    return;
                }
            }
            Ok(Found::Later(at)) => {
                latch::wait(Some(at - steady()));
                batcher.forget_busy();
            }
            Err(_) if batcher.is_interrupted() => scope::release_advisory_locks(),
            Err(error) => {
                scope::release_advisory_locks();
                errdata::log(error.clone());
                let pause = batcher.failed(error);
                if super::belongs() != Belongs::Yes {
                    return;
                }
                if pause > 0 {
                    slots::step_aside(database, role);
                }
                let until = steady() + pause;
                while !slots::asked_to_quit() && steady() < until {
                    latch::wait(Some(until - steady()));
                }
            }
        }
    }
}

/// Sleeps until there is work; false when it is time to end.
fn sleep(batcher: &mut Batcher) -> bool {
    process::report_stats();
    process::report_idle();
    let begun = steady();
    latch::wait(settings::executor_idle_timeout());
    batcher.forget_busy();
    let idled_out = settings::executor_idle_timeout().is_some_and(|limit| steady() - begun >= limit);
    !idled_out
}
