//! Every SQL block of the documentation runs, in the order of its file, in a fresh database, statement by statement. A
//! block marked ```sql error must fail.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use pg_workflow_server_tests::*;

struct Block {
    line: usize,
    fails: bool,
    sql: String,
}

/// The fenced SQL blocks of a Markdown text; one may be indented, in a list.
fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    // The fence that is open, and whether it is ours.
    let mut open: Option<(String, bool)> = None;
    for (number, line) in text.lines().enumerate() {
        let bare = line.trim_start();
        let fence: String = bare.chars().take_while(|c| *c == '`').collect();
        match &open {
            None if fence.len() >= 3 => {
                let words: Vec<&str> = bare[fence.len()..]
                    .split([' ', ',', '-'])
                    .filter(|word| !word.is_empty())
                    .collect();
                let ours = words.first() == Some(&"sql");
                if ours {
                    found.push(Block {
                        line: number + 1,
                        fails: words.contains(&"error"),
                        sql: String::new(),
                    });
                }
                open = Some((fence, ours));
            }
            Some((begun, _)) if fence.len() >= begun.len() && bare[fence.len()..].trim().is_empty() => open = None,
            Some((_, true)) => {
                let block = found.last_mut().expect("begun above");
                block.sql.push_str(line);
                block.sql.push('\n');
            }
            _ => {}
        }
    }
    found
}

/// A script for psql. After a block that must fail, one that has not is an error of ours.
fn script(blocks: &[Block], file: &str) -> String {
    let mut script = String::new();
    for block in blocks {
        let place = format!("{file}:{}", block.line);
        if block.fails {
            let quoted = place.replace('\'', "''");
            write!(
                script,
                "\\set ON_ERROR_STOP off\n{}\n;\n\\if :ERROR\n\\else\nDO $docs$ BEGIN RAISE '{quoted} did not fail'; END $docs$;\n\\quit\n\\endif\n\\set ON_ERROR_STOP on\n",
                block.sql.trim_end().trim_end_matches(';')
            )
        } else {
            write!(script, "\\echo {place}\n{}", block.sql)
        }
        .expect("a String takes all");
    }
    script + "\\echo the end\n"
}

/// True for a block that creates an extension which the server does not have.
fn needs_what_is_missing(cluster: &Cluster, sql: &str) -> bool {
    let created = sql.split("CREATE EXTENSION ").skip(1).filter_map(|rest| {
        rest.trim_start_matches("IF NOT EXISTS ")
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
    });
    created
        .into_iter()
        .any(|name| name != "pg_workflow" && cluster.lacks(name))
}

/// Runs the blocks of one text; the error is psql's. A page goes as far as the server has what it needs.
fn run(cluster: &Cluster, database: &str, file: &str, text: &str) -> Result<usize, String> {
    let mut blocks = blocks(text);
    if let Some(place) = blocks
        .iter()
        .position(|block| needs_what_is_missing(cluster, &block.sql))
    {
        blocks.truncate(place);
        eprintln!("not tested: {file}, from there on");
    }
    cluster.admin().run(&format!("CREATE DATABASE {database}"));
    // Most files suppose that the extension is there; one that creates it says so itself.
    if !blocks
        .iter()
        .any(|block| block.sql.to_uppercase().contains("CREATE EXTENSION PG_WORKFLOW"))
    {
        cluster
            .connect(database, "postgres")
            .run("CREATE EXTENSION pg_workflow");
    }
    let path = cluster.socket().join(format!("{database}.sql"));
    std::fs::write(&path, script(&blocks, file)).expect("script written");
    let mut psql = program("psql");
    psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"])
        .arg(cluster.socket())
        .arg("-f")
        .arg(&path);
    let output = psql.output().expect("psql starts");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if output.status.success() && stdout.trim_end().ends_with("the end") {
        return Ok(blocks.len());
    }
    let place = stdout.lines().rev().find(|line| line.starts_with(file)).unwrap_or(file);
    Err(format!("in the block at {place}, or the one after it:\n{stderr}"))
}

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
    // A page has a database of its own, with its scheduler and executors.
    let cluster = Cluster::bare(&["shared_preload_libraries = 'pg_workflow'", "max_worker_processes = 64"]);
    let mut errors = String::new();
    let mut count = 0;
    for (number, path) in files.iter().enumerate() {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let result = std::fs::read_to_string(path)
            .map_err(|error| error.to_string())
            .and_then(|text| run(&cluster, &format!("docs{number}"), &name, &text));
        match result {
            Ok(blocks) => count += blocks,
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
    let good = "Text\n\n```sql\nSET my.own = 'x';\n```\n\n- item\n  ```sql error\n  SELECT 1/0;\n  ```\n\n```sh\nfalse\n```\n\n```sql\nSELECT 1/(length(current_setting('my.own'))) AS n \\gset\n```\n";
    assert_eq!(run(&cluster, "good", "good.md", good), Ok(3));
    let error = run(&cluster, "bad", "bad.md", "```sql\nSELECT 1;\nSELECT 1/0;\n```\n").unwrap_err();
    assert!(
        error.contains("bad.md:1") && error.contains("division by zero"),
        "{error}"
    );
    let error = run(&cluster, "bad2", "bad2.md", "```sql error\nSELECT 1;\n```\n").unwrap_err();
    assert!(error.contains("bad2.md:1 did not fail"), "{error}");
}
