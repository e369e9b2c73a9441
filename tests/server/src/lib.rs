//! Private Postgres clusters for tests: made, crashed, restarted, copied and removed.
//!
//! Each cluster is a child of the test process, listens on a Unix socket only, and is removed when dropped. It runs with
//! fsync off, in crash tests too: killing processes does not need it, since the kernel survives.

pub mod clock;
pub mod pages;
pub mod zoo;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use postgres::types::FromSqlOwned;
pub use postgres::{self, Client, NoTls};
use rustix::process::{Pid, Signal};
pub use serde_json::{self, Value, json};

/// How long anything may take that ought to happen at once, on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_secs(20);

/// A query for what must not be in the tables while nobody is at work: a row a finding.
pub const CONSISTENCY: &str = include_str!("consistency.sql");

/// What Postgres says of an extension that uses it wrongly: a failed assertion (in builds that check them), something that
/// is still held at the end of a transaction.
const FAULTS: &[&str] = &[
    "TRAP:",
    "reference leak",
    "refcount leak",
    "File leak",
    "resource was not closed",
    "still active",
    "left non-empty SPI stack",
    "problem in alloc set",
    "you don't own a lock",
];

/// Waits until `condition` holds; panics after `limit`.
pub fn eventually(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        let waited = begun.elapsed();
        assert!(waited < limit, "not within {limit:?}: {what}");
        std::thread::sleep(pause(waited));
    }
}

/// Until the next look at something that has been waited for so long: looks cost the processors that it needs itself.
fn pause(waited: Duration) -> Duration {
    (waited / 10).clamp(Duration::from_millis(5), Duration::from_millis(50))
}

/// Checks over and over for `time` that `condition` holds.
pub fn throughout(time: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        assert!(condition(), "not any more after {:?}: {what}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
}

// --- the server's programs -------------------------------------------------------------------------------------------

const DEBIANS: &str = "/usr/lib/postgresql/15/bin/pg_config";

/// What pg_config says about a server.
fn config(config: &str, flag: &str) -> String {
    let output = Command::new(config).arg(flag).output().expect("pg_config runs");
    String::from_utf8(output.stdout).expect("a text").trim().to_owned()
}

/// Where the programs of the server are that is tested.
pub fn bindir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let path = std::env::var("PG_CONFIG").unwrap_or_else(|_| DEBIANS.to_owned());
        PathBuf::from(config(&path, "--bindir"))
    })
}

/// Where the programs of an older server are that has the same version of the extension: Debian's, or that of
/// `OLDER_PG_CONFIG`. Says if there is none.
pub fn older_bindir() -> Option<PathBuf> {
    let older = std::env::var("OLDER_PG_CONFIG").unwrap_or_else(|_| DEBIANS.to_owned());
    let major = |path: &str| -> Option<u32> {
        let version = config(path, "--version");
        version
            .split(|c: char| !c.is_ascii_digit())
            .find(|text| !text.is_empty())?
            .parse()
            .ok()
    };
    let control =
        |path: &str| fs::read(Path::new(&config(path, "--sharedir")).join("extension/pg_workflow.control")).ok();
    let tested = bindir().join("pg_config").display().to_string();
    let found = Path::new(&older).exists() && major(&older) < major(&tested) && control(&older) == control(&tested);
    if !found {
        // In the words that are looked for.
        eprintln!("not tested: there is no older server with this version of the extension");
    }
    found.then(|| PathBuf::from(config(&older, "--bindir")))
}

/// User and group to run Postgres as, if not as ourselves: it refuses to run as root.
fn server_user() -> Option<(u32, u32)> {
    static USER: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *USER.get_or_init(|| {
        rustix::process::geteuid().is_root().then(|| {
            let name = std::env::var("CLUSTER_USER").unwrap_or_else(|_| "postgres".to_owned());
            let id = |flag: &str| {
                let output = Command::new("id").args([flag, &name]).output().expect("id runs");
                String::from_utf8_lossy(&output.stdout)
                    .trim()
                    .parse()
                    .expect("an unprivileged user to run Postgres as")
            };
            (id("-u"), id("-g"))
        })
    })
}

/// A program of the server, to be run as its user, without what `PG*` variables say.
pub fn program(name: &str) -> Command {
    program_of(bindir(), name)
}

fn program_of(bin: &Path, name: &str) -> Command {
    let mut command = Command::new(bin.join(name));
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("PG")) {
        command.env_remove(key);
    }
    command.current_dir("/").stdin(Stdio::null());
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
    command
}

/// Runs a command to its end; panics with its output if it fails.
pub fn check(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    output
}

/// A data directory fresh from initdb, made once and copied for each cluster.
fn template(bin: &Path) -> PathBuf {
    static TEMPLATES: Mutex<BTreeMap<PathBuf, PathBuf>> = Mutex::new(BTreeMap::new());
    TEMPLATES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(bin.to_owned())
        .or_insert_with(|| {
            let output = check(program_of(bin, "postgres").arg("--version"));
            let version: String = String::from_utf8_lossy(&output.stdout)
                .chars()
                .map(|c| if c.is_alphanumeric() { c } else { '-' })
                .collect();
            // target/debug/deps/test -> target/tmp
            let exe = std::env::current_exe().expect("our own path");
            let dir = exe.ancestors().nth(3).expect("target directory").join("tmp");
            let wanted = dir.join(format!("template-{}", version.trim_end_matches('-')));
            if !wanted.exists() {
                let fresh = private_dir();
                // From 18 on there are checksums unless one says otherwise; before it none, and no way to say so.
                let help = check(program_of(bin, "initdb").arg("--help")).stdout;
                let has_option = String::from_utf8_lossy(&help).contains("--no-data-checksums");
                check(
                    program_of(bin, "initdb")
                        .args(has_option.then_some("--no-data-checksums"))
                        .args([
                            "-U",
                            "postgres",
                            "-A",
                            "trust",
                            "-E",
                            "UTF8",
                            "--locale=C.UTF-8",
                            "--no-sync",
                        ])
                        .arg("-D")
                        .arg(fresh.join("data")),
                );
                fs::create_dir_all(&dir).expect("target/tmp");
                let unique = dir.join(format!("template.{}", std::process::id()));
                check(Command::new("cp").arg("-a").arg(fresh.join("data")).arg(&unique));
                if fs::rename(&unique, &wanted).is_err() {
                    // Another process was quicker.
                    let _ = fs::remove_dir_all(&unique);
                }
                let _ = fs::remove_dir_all(fresh);
            }
            wanted
        })
        .clone()
}

/// Where clusters lie: in memory if there is ample room, since a thousand files for each cluster are the dearest thing that
/// most tests do on a disk; else, or if `CLUSTERS` says so, in a directory.
fn clusters_dir() -> &'static str {
    static DIR: OnceLock<String> = OnceLock::new();
    DIR.get_or_init(|| {
        let memory = "/dev/shm";
        let free = |path| rustix::fs::statvfs(path).map_or(0, |found| found.f_bavail * found.f_frsize);
        let ample = free(memory) >= 8 << 30 && available_memory() >= 8 << 30;
        std::env::var("CLUSTERS").unwrap_or_else(|_| if ample { memory } else { "/tmp" }.to_owned())
    })
}

/// Bytes of memory that processes can have.
fn available_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes << 10)
}

/// A new directory that belongs to the server's user. Short: a socket's path has at most 107 bytes.
fn private_dir() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!("{}/pgwf-{}-{number}", clusters_dir(), std::process::id()));
        if fs::create_dir(&dir).is_ok() {
            if let Some((uid, gid)) = server_user() {
                std::os::unix::fs::chown(&dir, Some(uid), Some(gid)).expect("chown");
            }
            return dir;
        }
    }
}

// --- clusters --------------------------------------------------------------------------------------------------------

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Fast,
    Immediate,
}

/// A server of our own.
pub struct Cluster {
    /// Where its programs are.
    bin: PathBuf,
    dir: PathBuf,
    server: Mutex<Option<Child>>,
}

/// Settings that make a test cluster small and quick; later lines win.
const SETTINGS: &[&str] = &[
    "listen_addresses = ''",
    "port = 5432",
    "fsync = off",
    "shared_buffers = 16MB",
    "max_connections = 60",
    "max_worker_processes = 24",
    "max_parallel_workers_per_gather = 0",
    "max_logical_replication_workers = 0",
    "log_min_messages = info",
    "log_line_prefix = '%m [%p] %b '",
];

const PRELOAD: &str = "shared_preload_libraries = 'pg_workflow'";

impl Cluster {
    /// A running cluster with the library preloaded and the extension in database `postgres`.
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// Likewise, with lines for postgresql.conf.
    pub fn with(settings: &[&str]) -> Self {
        let cluster = Self::bare(&[&[PRELOAD], settings].concat());
        cluster.admin().run("CREATE EXTENSION pg_workflow");
        cluster
    }

    /// A running cluster without library and extension.
    pub fn bare(settings: &[&str]) -> Self {
        Self::of(bindir(), settings)
    }

    /// Likewise, of another version of Postgres.
    pub fn of(bin: &Path, settings: &[&str]) -> Self {
        let dir = private_dir();
        check(Command::new("cp").arg("-a").arg(template(bin)).arg(dir.join("data")));
        Self::around(bin, dir, settings)
    }

    /// A standby of this cluster, streaming from it.
    pub fn standby(&self) -> Self {
        let dir = private_dir();
        check(
            program("pg_basebackup")
                .args(["-U", "postgres", "-R", "-c", "fast", "-X", "stream", "-h"])
                .arg(&self.dir)
                .arg("-D")
                .arg(dir.join("data")),
        );
        Self::around(&self.bin, dir, &[])
    }

    /// Makes this server, which is down, a standby of `primary`, and starts it. If it has been killed, or has gone on
    /// by itself, what `primary` does not know of is undone first.
    pub fn follow(&self, primary: &Self, rewind: bool) {
        let source = format!("host={} port=5432 user=postgres dbname=postgres", primary.dir.display());
        if rewind {
            // Before version 16 the source is believed to be where its last checkpoint was.
            primary.admin().run("CHECKPOINT");
            check(
                program_of(&self.bin, "pg_rewind")
                    .args(["--no-sync", "--source-server", &source, "-D"])
                    .arg(self.dir.join("data")),
            );
        }
        // What it says here goes before postgresql.conf, and both came from the source if it was rewound.
        self.append(
            "postgresql.auto.conf",
            &[
                &format!("primary_conninfo = '{source}'"),
                &format!("unix_socket_directories = '{}'", self.dir.display()),
            ],
        );
        self.start_in_recovery();
    }

    /// Starts the server in recovery, as a standby of whomever its settings name, if anybody.
    pub fn start_in_recovery(&self) {
        self.append("standby.signal", &[]);
        self.start();
        assert!(self.admin().one::<bool>("SELECT pg_is_in_recovery()"));
    }

    pub fn promote(&self) {
        assert!(self.admin().one::<bool>("SELECT pg_promote()"), "{}", self.log());
    }

    fn around(bin: &Path, dir: PathBuf, settings: &[&str]) -> Self {
        let cluster = Self {
            bin: bin.to_owned(),
            dir,
            server: Mutex::new(None),
        };
        let mut lines: Vec<String> = Vec::new();
        if !cluster.config().contains("log_line_prefix = '%m [%p] %b '") {
            lines.extend(SETTINGS.iter().map(|line| (*line).to_owned()));
        }
        lines.push(format!("unix_socket_directories = '{}'", cluster.dir.display()));
        lines.extend(settings.iter().map(|line| (*line).to_owned()));
        cluster.configure(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        cluster.start();
        cluster
    }

    fn config(&self) -> String {
        fs::read_to_string(self.dir.join("data/postgresql.conf")).expect("postgresql.conf")
    }

    /// Appends lines to postgresql.conf.
    pub fn configure(&self, lines: &[&str]) {
        self.append("postgresql.conf", lines);
    }

    /// Appends lines to a file of the data directory, which is made if need be.
    fn append(&self, name: &str, lines: &[&str]) {
        let path = self.dir.join("data").join(name);
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .expect("a file of the data directory");
        if let Some((uid, gid)) = server_user() {
            std::os::unix::fs::chown(&path, Some(uid), Some(gid)).expect("chown");
        }
        for line in lines {
            writeln!(file, "{line}").expect("written");
        }
    }

    /// Has the server read postgresql.conf with these lines behind it.
    pub fn reconfigure(&self, lines: &[&str]) {
        self.configure(lines);
        self.admin().run("SELECT pg_reload_conf()");
    }

    /// Starts the server and waits until it takes connections.
    pub fn start(&self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .expect("log file");
        let mut command = program_of(&self.bin, "postgres");
        // Users must never see a backtrace in an error, so one is asked for here.
        command.arg("-D").arg(self.dir.join("data")).env("RUST_BACKTRACE", "1");
        command.envs(clock::environment(&self.dir));
        command.stdout(log.try_clone().expect("log file")).stderr(log);
        let child = command.spawn().expect("postgres starts");
        assert!(
            self.server.lock().unwrap().replace(child).is_none(),
            "the server runs already"
        );
        self.wait_ready();
    }

    /// Waits until the server takes connections.
    pub fn wait_ready(&self) {
        let begun = Instant::now();
        while let Err(error) = self.try_connect("postgres", "postgres") {
            let ended = self
                .server
                .lock()
                .unwrap()
                .as_mut()
                .is_none_or(|child| child.try_wait().unwrap().is_some());
            assert!(
                !ended && begun.elapsed() < Duration::from_secs(60),
                "no connection: {error}\n{}",
                self.log()
            );
            std::thread::sleep(pause(begun.elapsed()));
        }
    }

    /// Stops the server; returns how long it took.
    pub fn stop(&self, mode: Stop) -> Duration {
        let begun = Instant::now();
        if let Some(mut child) = self.server.lock().unwrap().take() {
            let signal = match mode {
                Stop::Fast => Signal::INT,
                Stop::Immediate => Signal::QUIT,
            };
            send(child.id(), signal);
            while child.try_wait().expect("our child").is_none() {
                if begun.elapsed() > Duration::from_secs(60) {
                    kill_all(&self.processes_of(child.id()));
                    let _ = child.wait();
                    if !std::thread::panicking() {
                        panic!("the server did not stop ({mode:?})\n{}", self.log());
                    }
                    return begun.elapsed();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        begun.elapsed()
    }

    pub fn restart(&self) {
        self.stop(Stop::Fast);
        self.start();
    }

    /// SIGKILL to the postmaster alone; returns the processes that it has left, itself first.
    pub fn kill_postmaster(&self) -> Vec<u32> {
        let mut child = self.server.lock().unwrap().take().expect("the server runs");
        // Held first: what it starts after the look would be left over.
        send(child.id(), Signal::STOP);
        let processes = self.processes_of(child.id());
        send(child.id(), Signal::KILL);
        child.wait().expect("our child");
        processes
    }

    /// SIGKILL to every process of the server; returns when all are gone. The postmaster first: it shall not notice.
    pub fn kill9(&self) {
        let processes = self.kill_postmaster();
        kill_all(&processes);
        eventually(SOON, "all processes are gone", || {
            processes.iter().all(|pid| !is_alive(*pid))
        });
    }

    /// The postmaster's process id.
    pub fn postmaster(&self) -> u32 {
        self.server.lock().unwrap().as_ref().expect("the server runs").id()
    }

    /// Every process of the server, the postmaster first.
    pub fn processes(&self) -> Vec<u32> {
        self.processes_of(self.postmaster())
    }

    fn processes_of(&self, postmaster: u32) -> Vec<u32> {
        let children = fs::read_dir("/proc").expect("/proc").filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            (stat(pid)?.1 == postmaster).then_some(pid)
        });
        std::iter::once(postmaster)
            .chain(children.collect::<Vec<_>>())
            .collect()
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        fs::read(self.dir.join("log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Number of lines of the log that contain `text`.
    pub fn logged(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Directory of the socket, for programs.
    pub fn socket(&self) -> &Path {
        &self.dir
    }

    /// A program of this server's that is to connect to a database of it.
    pub fn tool(&self, name: &str, database: &str) -> Command {
        let mut command = program_of(&self.bin, name);
        command
            .arg("-h")
            .arg(&self.dir)
            .args(["-U", "postgres", "-d", database]);
        command
    }

    pub fn try_connect(&self, database: &str, user: &str) -> Result<Client, postgres::Error> {
        // A test may fail, but not hang.
        Client::configure()
            .host_path(&self.dir)
            .port(5432)
            .dbname(database)
            .user(user)
            .options("-c statement_timeout=60s")
            .connect(NoTls)
    }

    pub fn connect(&self, database: &str, user: &str) -> Client {
        self.try_connect(database, user)
            .unwrap_or_else(|error| panic!("{database} as {user}: {error}\n{}", self.log()))
    }

    /// A superuser's session in database `postgres`.
    pub fn admin(&self) -> Client {
        self.connect("postgres", "postgres")
    }

    /// True if the server has no such extension to offer; says then that this is not tested.
    pub fn lacks(&self, extension: &str) -> bool {
        let sql = format!("SELECT count(*) = 0 FROM pg_available_extensions WHERE name = '{extension}'");
        let lacks = self.admin().one(&sql);
        if lacks {
            // In the words that run.sh looks for.
            eprintln!("not tested: the server has no {extension}");
        }
        lacks
    }

    /// Creates a database with the extension; returns a superuser's session in it.
    pub fn database(&self, name: &str) -> Client {
        self.admin().run(&format!("CREATE DATABASE {name}"));
        let mut client = self.connect(name, "postgres");
        client.run("CREATE EXTENSION pg_workflow");
        client
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Kept for the eye, since the directory goes.
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!(
                "--- end of the server's log\n{}",
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
        self.stop(Stop::Immediate);
        let log = self.log();
        let _ = fs::remove_dir_all(&self.dir);
        let faults: Vec<_> = log
            .lines()
            .filter(|line| FAULTS.iter().any(|fault| line.contains(fault)))
            .collect();
        if !faults.is_empty() {
            eprintln!("--- the server found faults\n{}", faults.join("\n"));
            assert!(std::thread::panicking(), "the server found faults");
        }
    }
}

// --- processes -------------------------------------------------------------------------------------------------------

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// SIGKILL to one process.
pub fn kill(pid: u32) {
    send(pid, Signal::KILL);
}

/// Stops a process where it is, until [`thaw`].
pub fn freeze(pid: u32) {
    send(pid, Signal::STOP);
}

pub fn thaw(pid: u32) {
    send(pid, Signal::CONT);
}

fn kill_all(pids: &[u32]) {
    pids.iter().for_each(|pid| kill(*pid));
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// False for a zombie too, which nobody collects in a container whose first process is no init.
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Random numbers, for moments to kill at: xorshift.
pub struct Random(u64);

impl Random {
    /// Seeded from `SEED`, or by chance; says which, so that a failure can be had again (as far as timing allows).
    pub fn new() -> Self {
        let chance = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_nanos() as u64;
        let seed = std::env::var("SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or(chance);
        eprintln!("SEED={seed}");
        Self(seed | 1)
    }

    /// Always the same numbers.
    pub fn seeded(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

// --- SQL -------------------------------------------------------------------------------------------------------------

/// An error as the server sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub sqlstate: String,
    pub message: String,
    pub detail: String,
    pub hint: String,
}

/// Short forms for tests; all but `fails` and `attempt` panic on an error.
pub trait Sql {
    /// Runs statements.
    fn run(&mut self, sql: &str);
    /// The one value that a query gives.
    fn one<T: FromSqlOwned>(&mut self, sql: &str) -> T;
    /// The values of a query's only column.
    fn all<T: FromSqlOwned>(&mut self, sql: &str) -> Vec<T>;
    /// Runs statements that must fail.
    fn fails(&mut self, sql: &str) -> Failure;
    /// Runs statements that may fail.
    fn attempt(&mut self, sql: &str) -> Result<(), Failure>;
    /// Number of rows of a table, or `table WHERE ...`.
    fn count(&mut self, from: &str) -> i64 {
        self.one(&format!("SELECT count(*) FROM {from}"))
    }
    /// The result of an instance, once it has ended.
    fn result(&mut self, id: &str) -> Value {
        let result: Option<Value> = self.one(&format!("SELECT wf_result('{id}', '50 s')"));
        result.unwrap_or(Value::Null)
    }
    /// The error of an instance that must fail, once it has ended.
    fn failure(&mut self, id: &str) -> Failure {
        self.fails(&format!("SELECT wf_result('{id}', '50 s')"))
    }
    fn status(&mut self, id: &str) -> String {
        self.one(&format!("SELECT wf_status('{id}')"))
    }
    /// Waits until an instance waits for something whose description begins with `what`.
    fn waits_for(&mut self, id: &str, what: &str) {
        eventually(SOON, &format!("{id} waits for {what}"), || {
            let waiting: Option<String> = self.one(&format!(
                "SELECT waiting_for FROM wf.workflows WHERE id = '{id}' ORDER BY run DESC LIMIT 1"
            ));
            waiting.is_some_and(|text| text.starts_with(what))
        });
    }
    /// Waits until a worker is in a step of an instance; returns the worker's process id.
    fn in_step(&mut self, id: &str, step: &str) -> u32 {
        let mut pid = None;
        eventually(SOON, &format!("{id} is in step {step}"), || {
            // The text of a step that was begun in a shared transaction and is to be run alone stays for a moment.
            let pids: Vec<i32> = self.all(&format!(
                "SELECT w.pid FROM wf.workers w JOIN pg_stat_activity a USING (pid)
                 WHERE w.id = '{id}' AND w.step = '{step}' AND a.wait_event = 'PgSleep' AND w.since < now() - interval '100 ms'"
            ));
            pid = pids.first().map(|pid| pid.cast_unsigned());
            pid.is_some()
        });
        pid.expect("found")
    }
}

/// What the server said; a connection that broke is SQLSTATE 08006.
pub fn failure_of(error: &postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(error) => Failure {
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().unwrap_or_default().to_owned(),
            hint: error.hint().unwrap_or_default().to_owned(),
        },
        None => Failure {
            sqlstate: "08006".to_owned(),
            message: error.to_string(),
            detail: String::new(),
            hint: String::new(),
        },
    }
}

impl Sql for Client {
    fn run(&mut self, sql: &str) {
        self.attempt(sql).unwrap_or_else(|failure| panic!("{sql}\n{failure:?}"));
    }

    fn one<T: FromSqlOwned>(&mut self, sql: &str) -> T {
        self.query_one(sql, &[])
            .unwrap_or_else(|error| panic!("{sql}\n{:?} ({error})", failure_of(&error)))
            .get(0)
    }

    fn all<T: FromSqlOwned>(&mut self, sql: &str) -> Vec<T> {
        let rows = self
            .query(sql, &[])
            .unwrap_or_else(|error| panic!("{sql}\n{:?}", failure_of(&error)));
        rows.iter().map(|row| row.get(0)).collect()
    }

    fn fails(&mut self, sql: &str) -> Failure {
        match self.attempt(sql) {
            Ok(()) => panic!("did not fail: {sql}"),
            Err(failure) => {
                assert!(!failure.detail.contains("backtrace"), "{failure:?}");
                failure
            }
        }
    }

    fn attempt(&mut self, sql: &str) -> Result<(), Failure> {
        self.batch_execute(sql).map_err(|error| failure_of(&error))
    }
}
