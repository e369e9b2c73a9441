//! Pages of the documentation: their SQL runs, and the output that they show is what psql prints.
//!
//! A block ```sql runs, in the order of the page, in a fresh database; ```sql error must fail. A block ```text output is
//! what psql prints for the SQL block before it, but for what differs from run to run (see [`normal`]). An HTML comment
//! around a block hides it from the reader and not from us.

mod normal;

use std::fmt::Write;
use std::fs::File;
use std::ops::Range;
use std::process::Stdio;

use crate::{Cluster, Sql, program};
pub use normal::normal;

struct Block {
    /// Of its fence, from 1.
    line: usize,
    fails: bool,
    sql: String,
    shown: Option<Shown>,
}

/// An output block.
struct Shown {
    /// Its lines, without the fences, from 0.
    lines: Range<usize>,
    /// What each of them begins with.
    indent: String,
    text: String,
}

/// What a page has come to.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// SQL blocks that were run.
    pub blocks: usize,
    /// The text with outputs that have become others replaced; `None` if there are none.
    pub rewritten: Option<String>,
    /// What is wrong with them.
    pub differences: String,
}

/// The fenced SQL blocks of a Markdown text with their outputs; one may be indented, in a list.
fn blocks(text: &str) -> Result<Vec<Block>, String> {
    enum Fence {
        Sql,
        Output,
        Other,
    }
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<(&str, Fence)> = None;
    for (number, line) in text.lines().enumerate() {
        let bare = line.trim_start();
        let indent = &line[..line.len() - bare.len()];
        let fence = &bare[..bare.len() - bare.trim_start_matches('`').len()];
        match &open {
            None if fence.len() >= 3 => {
                let words: Vec<&str> = bare[fence.len()..]
                    .split([' ', ',', '-'])
                    .filter(|word| !word.is_empty())
                    .collect();
                let kind = match words.as_slice() {
                    ["sql", ..] => {
                        found.push(Block {
                            line: number + 1,
                            fails: words.contains(&"error"),
                            sql: String::new(),
                            shown: None,
                        });
                        Fence::Sql
                    }
                    ["text", "output"] => {
                        let block = found.last_mut().filter(|block| block.shown.is_none());
                        let block = block.ok_or(format!("line {}: an output without its SQL block", number + 1))?;
                        block.shown = Some(Shown {
                            lines: number + 1..number + 1,
                            indent: indent.to_owned(),
                            text: String::new(),
                        });
                        Fence::Output
                    }
                    _ => Fence::Other,
                };
                open = Some((fence, kind));
            }
            Some((begun, _)) if fence.len() >= begun.len() && bare[fence.len()..].trim().is_empty() => open = None,
            Some((_, Fence::Other)) | None => {}
            Some((_, kind)) => {
                let block = found.last_mut().expect("begun above");
                let shown = block.shown.as_mut();
                let text = match (kind, shown) {
                    (Fence::Output, Some(shown)) => {
                        shown.lines.end = number + 1;
                        &mut shown.text
                    }
                    _ => &mut block.sql,
                };
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    Ok(found)
}

const END: &str = "the end";

/// A script for psql, which prints the place of each block before what it gives. After a block that must fail, one that has
/// not is an error of ours.
fn script(blocks: &[Block], page: &str) -> String {
    let mut script = String::new();
    for block in blocks {
        let place = place(page, block);
        writeln!(script, "\\echo {place}").expect("a String takes all");
        if block.fails {
            let quoted = place.replace('\'', "''");
            write!(
                script,
                "\\set ON_ERROR_STOP off\n{}\n;\n\\if :ERROR\n\\else\nDO $docs$ BEGIN RAISE '{quoted} did not fail'; END $docs$;\n\\quit\n\\endif\n\\set ON_ERROR_STOP on\n",
                block.sql.trim_end().trim_end_matches(';')
            )
            .expect("a String takes all");
        } else {
            script.push_str(&block.sql);
        }
    }
    script + "\\echo " + END + "\n"
}

fn place(page: &str, block: &Block) -> String {
    format!("{page}:{}", block.line)
}

/// True for a block that creates an extension which the server does not have.
fn needs_what_is_missing(cluster: &Cluster, sql: &str) -> bool {
    let mut created = sql.split("CREATE EXTENSION ").skip(1).filter_map(|rest| {
        rest.trim_start_matches("IF NOT EXISTS ")
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
    });
    created.any(|name| !name.starts_with("pg_workflow") && cluster.lacks(name))
}

/// Runs the blocks of a page in a new database of this name; an error is psql's.
pub fn run(cluster: &Cluster, database: &str, page: &str, text: &str) -> Result<Outcome, String> {
    let mut blocks = blocks(text)?;
    let needs = |block: &Block| needs_what_is_missing(cluster, &block.sql);
    if let Some(place) = blocks.iter().position(needs) {
        blocks.truncate(place);
        eprintln!("not tested: {page}, from there on");
    }
    cluster.admin().run(&format!("CREATE DATABASE {database}"));
    // Most pages suppose that the extension is there; one that creates it says so itself.
    let creates = |block: &Block| block.sql.to_uppercase().contains("CREATE EXTENSION PG_WORKFLOW");
    if !blocks.iter().any(creates) {
        cluster
            .connect(database, "postgres")
            .run("CREATE EXTENSION pg_workflow");
    }
    let printed = psql(cluster, database, &script(&blocks, page));
    let Some(printed) = printed.trim_end().strip_suffix(END) else {
        let mut lines = printed.lines().rev();
        let last = lines.find(|line| line.starts_with(&format!("{page}:"))).unwrap_or(page);
        let from = printed.rfind(last).unwrap_or(0);
        return Err(format!("the block at {last} failed:\n{}", &printed[from..]));
    };
    Ok(compare(&blocks, page, text, printed))
}

/// What psql prints for a script, errors among it where they come.
fn psql(cluster: &Cluster, database: &str, script: &str) -> String {
    let file = |kind: &str| cluster.socket().join(format!("{database}.{kind}"));
    std::fs::write(file("sql"), script).expect("script written");
    let output = File::create(file("out")).expect("a file for the output");
    // From standard input: of a named file psql says name and line with each error.
    let mut psql = program("psql");
    psql.args([
        "-X",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-U",
        "postgres",
        "-d",
        database,
        "-h",
    ])
    .arg(cluster.socket())
    .stdin(File::open(file("sql")).expect("the script"))
    .stdout(output.try_clone().expect("a handle"))
    .stderr(Stdio::from(output));
    psql.status().expect("psql starts");
    std::fs::read_to_string(file("out")).expect("text")
}

/// Compares what was printed, block by block, with what the page shows.
fn compare(blocks: &[Block], page: &str, text: &str, printed: &str) -> Outcome {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut differences = String::new();
    let mut rest = printed;
    let mut outputs = Vec::new();
    for (i, block) in blocks.iter().enumerate() {
        let begin = format!("{}\n", place(page, block));
        rest = rest.strip_prefix(&begin).unwrap_or(rest);
        let next = blocks.get(i + 1).map(|next| format!("{}\n", place(page, next)));
        let end = next.and_then(|next| rest.find(&next)).unwrap_or(rest.len());
        outputs.push(rest[..end].trim_end());
        rest = &rest[end..];
    }
    // From the end, so that line numbers hold.
    for (block, output) in blocks.iter().zip(&outputs).rev() {
        let Some(shown) = &block.shown else { continue };
        if normal(&shown.text) == normal(output) {
            continue;
        }
        let new: Vec<String> = output
            .lines()
            .map(|line| format!("{}{line}", shown.indent).trim_end().to_owned())
            .collect();
        let place = place(page, block);
        let found = normal(output);
        differences =
            format!("{place} prints\n{output}\nwhich is not what the page shows: compared as\n{found}\n{differences}");
        lines.splice(shown.lines.clone(), new);
    }
    Outcome {
        blocks: blocks.len(),
        rewritten: (!differences.is_empty()).then(|| lines.join("\n") + "\n"),
        differences,
    }
}
