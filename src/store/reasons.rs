//! Why a run does not move.

use super::statement;
use crate::pg::{Json, RunId};

statement!(OF_RUN, "reasons_of_run", UUID);

pub(crate) fn of_run(run: RunId) -> Option<Json> {
    OF_RUN.first(&[&run], |row| row.get(0)).flatten()
}
