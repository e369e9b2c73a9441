//! Functions for operators; see `sql/functions/30_operate.sql`.

use serde_json::json;

use crate::engine::batch::{self, Commits};
use crate::engine::calls;
use crate::error::Error;
use crate::hub::{hints, slots, wal};
use crate::pg::fmgr::{Args, Return, role_name, sql_function};
use crate::pg::{Json, process, scope, txn};
use crate::settings;

/// Refuses a function that runs workflows where it is called, unless that is a session of the role that they are of.
pub(super) fn require_own_session(function: &'static str) -> Result<(), Error> {
    calls::require_outside(function)?;
    calls::require_writable(function)?;
    if slots::is_registered() {
        return Err(Error::InsideStep(function));
    }
    let role = scope::current_user();
    if !scope::is_session_user(role) {
        let role = role_name(role);
        return Err(Error::NotConnectedAs { function, role });
    }
    Ok(())
}

sql_function!("wf_run_pending", run_pending);
fn run_pending(args: Args) -> Result<Return, Error> {
    require_own_session("wf_run_pending")?;
    if args.atomic() {
        txn::with_spi(|| batch::run_pending(Commits::No));
    } else {
        txn::with_nonatomic_spi(|| batch::run_pending(Commits::Yes));
    }
    Ok(Return::void())
}

sql_function!("wf_facts", facts);
fn facts(_: Args) -> Result<Return, Error> {
    const EPOCH_SECONDS: f64 = 946_684_800.0;
    let slots = slots::list(process::my_database());
    let workers: Vec<_> = slots
        .iter()
        .filter(|slot| slot.kind != slots::Kind::Launcher)
        .map(|slot| {
            json!({
                "kind": slot.kind.name(),
                "pid": slot.pid,
                "role": slot.role.to_u32(),
                "busy": slot.run.is_some(),
                "run_id": slot.run.map(|run| run.to_string()),
                "step": slot.run.map(|_| slot.step()).filter(|step| !step.is_empty()),
                "since": slot.since as f64 / 1e6 + EPOCH_SECONDS,
            })
        })
        .collect();
    let facts = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "preloaded": slots::available(),
        "launcher": slots.iter().any(|slot| slot.kind == slots::Kind::Launcher),
        "workers": workers,
        "wal_bytes": wal::of(process::my_database()),
        "purge": settings::background_purge(),
        "retention": settings::retention(),
    });
    Ok(Return::json(Some(&Json::from_value(&facts))))
}

sql_function!("wf_announce", announce);
fn announce(_: Args) -> Result<Return, Error> {
    hints::announce();
    Ok(Return::void())
}
