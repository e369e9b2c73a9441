//! Is the schema in this database the one that this library was made for? Between the installation of a new library and
//! `ALTER EXTENSION UPDATE` it is not. Statements would meet tables of another shape, and functions be declared with other
//! parameters than they read: so nothing is run then.

use std::cell::Cell;

use crate::error::Error;
use crate::pg::{catalog, scope, txn};
use crate::store::home;

const LIBRARY: &str = env!("CARGO_PKG_VERSION");

/// Symbols that scripts of any version call, and views and functions in which one may look for the cause. They read no table
/// of ours then, and their parameters stay.
const OF_ANY_SCHEMA: [&str; 7] = [
    "wf_announce",
    "wf_facts",
    "wf_cron_error",
    "wf_is_current",
    "wf_explain",
    "wf_message_shape",
    "wf_sees_all",
];

thread_local! {
    /// The value of `functions_generation` for which it was found to be so. An update replaces functions.
    static FITS: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The version of the schema here; `None` if the extension is not installed. As the engine.
fn schema() -> Option<String> {
    let generation = catalog::functions_generation();
    let schema = home::extension_version()?;
    FITS.set((schema == LIBRARY).then_some(generation));
    Some(schema)
}

/// `None` if the extension is not installed here. As the engine.
pub(crate) fn fits() -> Option<bool> {
    schema().map(|schema| schema == LIBRARY)
}

/// The versions of schema and library, if they differ. As the engine.
pub(crate) fn difference() -> Option<(String, &'static str)> {
    schema()
        .filter(|schema| schema != LIBRARY)
        .map(|schema| (schema, LIBRARY))
}

/// Refuses a call of a function of ours; `symbol` is its name in the library.
pub(crate) fn check(symbol: &str) -> Result<(), Error> {
    if FITS.get() == Some(catalog::functions_generation()) || OF_ANY_SCHEMA.contains(&symbol) {
        return Ok(());
    }
    txn::with_spi(|| {
        scope::as_engine(|| match difference() {
            Some((schema, library)) => Err(Error::OtherSchema { schema, library }),
            None => Ok(()),
        })
    })
}
