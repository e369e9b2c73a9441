//! `home` and `installation`: may the rows of this database run here?

use super::statement;

statement!(CLAIM, "home_claim");
statement!(CHECK, "home_check");
statement!(VERSION, "extension_version");

/// Makes this database the home of its rows, if it has none yet.
pub(crate) fn claim() {
    CLAIM.run(&[]);
}

/// False in a copy that was not adopted.
pub(crate) fn is_here() -> bool {
    CHECK.first(&[], |row| row.need(0)).unwrap_or(false)
}

/// Version of the extension's schema in this database; `None` if it is not installed.
pub(crate) fn extension_version() -> Option<String> {
    VERSION.first(&[], |row| row.need(0))
}
