//! Every file of examples/ runs in a database of its own, and checks itself. Money is transferred while the server is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pg_workflow_server_tests::*;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// Runs a file by psql in a database that has the extension; the error is what psql says.
fn run(cluster: &Cluster, database: &str, file: &str) -> Result<(), String> {
    let text = fs::read_to_string(examples().join(file)).expect("the example");
    // A copy: the server's user may not be allowed to read where we are.
    let copy = cluster.socket().join(file);
    fs::write(&copy, text).expect("script written");
    let mut psql = program("psql");
    psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"])
        .arg(cluster.socket())
        .arg("-f")
        .arg(&copy);
    let output = psql.output().expect("psql starts");
    if output.status.success() {
        return Ok(());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(format!("{}\n{}", text(&output.stdout), text(&output.stderr)))
}

#[test]
fn every_example_does_what_it_says() {
    let entries = fs::read_dir(examples()).expect("examples/");
    let mut files: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".sql"))
        .collect();
    files.sort();
    let readme = fs::read_to_string(examples().join("README.md")).expect("README.md");
    let unlisted: Vec<&String> = files
        .iter()
        .filter(|name| !readme.contains(&format!("({name})")))
        .collect();
    assert!(unlisted.is_empty(), "not in examples/README.md: {unlisted:?}");

    // A database each, with its scheduler and executors.
    let cluster = Cluster::with(&["max_worker_processes = 64"]);
    let mut errors = String::new();
    for file in &files {
        let database = file.trim_end_matches(".sql");
        drop(cluster.database(database));
        if let Err(error) = run(&cluster, database, file) {
            errors += &format!("{file}:\n{error}\n");
        }
    }
    assert!(errors.is_empty(), "{errors}");
}

const ROUNDS: usize = 8;
const TRANSFERS: i64 = 600;

#[test]
fn sigkill_neither_loses_money_nor_makes_any() {
    let cluster = Cluster::new();
    run(&cluster, "postgres", "money_transfer.sql").expect("100 transfers in peace");
    let mut started = 100;
    let mut interrupted = 0;
    let mut random = Random::new();
    for _ in 0..ROUNDS {
        let mut db = cluster.admin();
        db.run(&format!(
            "SELECT start_transfers({}, {})",
            started + 1,
            started + TRANSFERS
        ));
        started += TRANSFERS;
        // The moment of the blow is left to chance.
        std::thread::sleep(Duration::from_micros(random.below(200_000)));
        cluster.kill9();
        cluster.start();
        interrupted += cluster.admin().count("wf.workflows WHERE finished_at IS NULL");
    }
    assert!(interrupted > 0, "the server was never killed in the middle");
    let mut db = cluster.admin();
    eventually(Duration::from_secs(60), "all transfers end", || {
        db.count("wf.workflows WHERE finished_at IS NOT NULL") == started
    });
    db.run("CALL check_books()");
    assert_eq!(db.count("entries"), 2 * started);
}

#[test]
fn the_books_can_be_wrong() {
    let cluster = Cluster::new();
    run(&cluster, "postgres", "money_transfer.sql").expect("100 transfers");
    let mut db = cluster.admin();
    db.run("CREATE TEMP TABLE one AS SELECT * FROM entries LIMIT 1");
    // A step that was done twice; one that was lost; an entry without its effect.
    let twice = "INSERT INTO entries SELECT * FROM one;
                 UPDATE accounts a SET balance = balance + amount FROM one WHERE a.name = account";
    let lost = "DELETE FROM entries e USING one WHERE e = one;
                UPDATE accounts a SET balance = balance - amount FROM one WHERE a.name = account";
    let half = "DELETE FROM entries e USING one WHERE e = one";
    for wrong in [twice, lost, half] {
        let failure = db.fails(&format!("BEGIN; {wrong}; CALL check_books()"));
        assert_eq!(failure.sqlstate, "P0004", "{wrong}: {failure:?}");
        db.run("ROLLBACK");
    }
    db.run("CALL check_books()");
}
