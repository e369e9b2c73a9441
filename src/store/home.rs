//! `home` and `installation`: may the rows of this database run here?

use super::statement;

statement!(CLAIM, "home_claim");
statement!(CHECK, "home_check");
statement!(VERSION, "extension_version");

/// Makes this database the home of its rows, if it has none yet.
pub(crate) fn claim() {
    CLAIM.run(&[]);
}

/// Whose rows are here?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    Here,
    /// In a copy that was not adopted.
    Elsewhere,
    /// Nothing was started here yet; or a dump is being restored, whose rows do not come all at once.
    Nobody,
}

pub(crate) fn find() -> Home {
    match CHECK.first(&[], |row| row.get(0)).flatten() {
        Some(true) => Home::Here,
        Some(false) => Home::Elsewhere,
        None => Home::Nobody,
    }
}

/// May rows be run here?
pub(crate) fn is_here() -> bool {
    find() == Home::Here
}

/// Version of the extension's schema in this database; `None` if it is not installed.
pub(crate) fn extension_version() -> Option<String> {
    VERSION.first(&[], |row| row.need(0))
}
