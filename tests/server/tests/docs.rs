//! Every SQL block of the documentation runs, in the order of its file, in a fresh database, and what it shows is what psql
//! prints: see `pages`. `UPDATE=1` writes what psql prints into the pages, `PAGE=text` takes those whose path has that in it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use pg_workflow_server_tests::pages::{self, Outcome};
use pg_workflow_server_tests::*;

#[test]
fn every_block_of_the_documentation_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![root.join("README.md")];
    if let Ok(docs) = std::fs::read_dir(root.join("docs")) {
        let mut pages: Vec<PathBuf> = docs
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "md"))
            .collect();
        pages.sort();
        files.extend(pages);
    }
    if let Ok(page) = std::env::var("PAGE") {
        files.retain(|path| path.display().to_string().contains(&page));
    }
    let updates = std::env::var("UPDATE").is_ok_and(|value| value == "1");
    // A page has a database of its own, with its scheduler and executors, which stay for minutes.
    let cluster = Cluster::bare(&["shared_preload_libraries = 'pg_workflow'", "max_worker_processes = 200"]);
    let mut errors = String::new();
    let mut count = 0;
    for (number, path) in files.iter().enumerate() {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let outcome = std::fs::read_to_string(path)
            .map_err(|error| error.to_string())
            .and_then(|text| pages::run(&cluster, &format!("docs{number}"), &name, &text));
        match outcome {
            Ok(Outcome {
                blocks,
                rewritten: Some(text),
                ..
            }) if updates => {
                std::fs::write(path, text).expect("page written");
                eprintln!("{name}: rewritten");
                count += blocks;
            }
            Ok(outcome) => {
                errors.push_str(&outcome.differences);
                count += outcome.blocks;
            }
            Err(error) => writeln!(errors, "{name}: {error}").unwrap(),
        }
    }
    eprintln!("{count} blocks of {} files", files.len());
    assert!(errors.is_empty(), "{errors}");
    assert!(count > 0, "no block found");
}

#[test]
fn this_test_can_fail() {
    let cluster = Cluster::bare(&["shared_preload_libraries = 'pg_workflow'"]);
    let good = "Text\n\n```sql\nSET my.own = 'x';\n```\n\n- item\n  ```sql error\n  SELECT 1/0;\n  ```\n  ```text output\n  ERROR:  division by zero\n  ```\n\n```sh\nfalse\n```\n\n```sql\nSELECT 1/(length(current_setting('my.own'))) AS n \\gset\nSELECT :n AS n, clock_timestamp() AS at, gen_random_uuid(), pg_backend_pid() AS pid;\n```\n\n```text output\n n | at | gen_random_uuid | pid\n---+----+-----------------+-----\n 1 | 2026-01-02 03:04:05+00 | 3c1b7b52-0000-4000-8000-000000000000 | 1\n(1 row)\n```\n";
    let outcome = pages::run(&cluster, "good", "good.md", good).unwrap();
    assert_eq!(outcome.differences, "");
    assert_eq!((outcome.blocks, outcome.rewritten), (3, None));

    let error = pages::run(&cluster, "bad", "bad.md", "```sql\nSELECT 1;\nSELECT 1/0;\n```\n").unwrap_err();
    assert!(
        error.contains("bad.md:1") && error.contains("division by zero"),
        "{error}"
    );
    let error = pages::run(&cluster, "bad2", "bad2.md", "```sql error\nSELECT 1;\n```\n").unwrap_err();
    assert!(error.contains("bad2.md:1 did not fail"), "{error}");
    let error = pages::run(&cluster, "bad3", "bad3.md", "```text output\n1\n```\n").unwrap_err();
    assert!(error.contains("line 1: an output without its SQL block"), "{error}");

    // Outputs that are not what is printed, the last one empty.
    let stale = "```sql\n\\t on\nSELECT 'new';\n```\n- item\n  ```text output\n   old\n   older\n  ```\n\n```sql\nSELECT 'more';\n```\n\n```text output\n```\nend\n";
    let outcome = pages::run(&cluster, "stale", "stale.md", stale).unwrap();
    let differences = outcome.differences;
    assert!(
        differences.contains("stale.md:1 prints\n new\n") && differences.contains("stale.md:11 prints\n more\n"),
        "{differences}"
    );
    let fresh = stale
        .replace("   old\n   older\n", "   new\n")
        .replace("output\n```\nend", "output\n more\n```\nend");
    assert_eq!(outcome.rewritten, Some(fresh.clone()));
    let outcome = pages::run(&cluster, "fresh", "fresh.md", &fresh).unwrap();
    assert_eq!(outcome.differences, "");
}
