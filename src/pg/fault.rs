//! Places at which a test has a process die, stop, or fail: at every border of the engine's work. Only with the feature `faults`,
//! which no release has; without it there is nothing here.

/// A place of this name is passed.
///
/// It is armed by a file `faults/NAME` in the data directory that says what is to happen, once: `kill` (SIGKILL to this
/// process), `hang` (it stays where it is; the file is called `NAME.reached` from then on), `wait` (until that is gone) or `error`.
#[cfg(feature = "faults")]
pub(crate) fn fault(name: &str) {
    let path = format!("faults/{name}");
    let Ok(order) = std::fs::read_to_string(&path) else {
        return;
    };
    // Who takes the file away is the one that it is for.
    let reached = format!("{path}.reached");
    if std::fs::rename(&path, &reached).is_err() {
        return;
    }
    match order.trim() {
        "error" => super::guard::throw(super::PgError::new(
            super::errdata::INTERNAL_ERROR,
            format!("fault at \"{name}\""),
        )),
        "hang" => loop {
            // To be ended by SIGKILL, as whatever else stops a server in the middle.
            std::thread::sleep(std::time::Duration::from_secs(1));
        },
        "wait" => {
            while std::fs::exists(&reached).unwrap_or(false) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        // SAFETY: a signal to this process, from which there is no return.
        _ => unsafe {
            libc::kill(libc::getpid(), libc::SIGKILL);
        },
    }
}

#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn fault(_: &str) {}
