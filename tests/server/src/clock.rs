//! A cluster with a clock of its own, which can be set: see clock.c.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Cluster, PRELOAD, Sql, bindir, check, private_dir, template};

/// Lengths of time, in seconds.
pub const HOUR: i64 = 3600;
pub const DAY: i64 = 24 * HOUR;

fn library(dir: &Path) -> PathBuf {
    dir.join("clock.so")
}

fn offset(dir: &Path) -> PathBuf {
    dir.join("clock")
}

/// What the server in `dir` is started with if it has such a clock.
pub(super) fn environment(dir: &Path) -> Vec<(&'static str, PathBuf)> {
    if library(dir).exists() {
        vec![("LD_PRELOAD", library(dir)), ("CLOCK_OFFSET", offset(dir))]
    } else {
        Vec::new()
    }
}

impl Cluster {
    /// As [`Cluster::with`], with a clock that shows the right time until it is set.
    pub fn with_clock(settings: &[&str]) -> Self {
        let dir = private_dir();
        check(
            Command::new("cp")
                .arg("-a")
                .arg(template(bindir()))
                .arg(dir.join("data")),
        );
        fs::write(offset(&dir), 0_i64.to_ne_bytes()).expect("the clock's file");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/clock.c");
        check(
            Command::new("cc")
                .args(["-O1", "-shared", "-fPIC", "-o"])
                .arg(library(&dir))
                .arg(source),
        );
        let cluster = Self::around(bindir(), dir, &[&[PRELOAD], settings].concat());
        cluster.admin().run("CREATE EXTENSION pg_workflow");
        cluster
    }

    /// Sets the clock of all processes of the server: it shows a time so many seconds from the right one.
    pub fn set_clock(&self, seconds: i64) {
        // In place: the file is mapped.
        let file = fs::OpenOptions::new().write(true).open(offset(&self.dir));
        let micros = (seconds * 1_000_000).to_ne_bytes();
        std::os::unix::fs::FileExt::write_all_at(&file.expect("the clock's file"), &micros, 0).expect("written");
    }
}
