//! Procedures as workflows: steps run where they are called and are committed in the middle, and every promise that holds
//! for functions holds all the same.

mod blocks;
mod by_hand;
mod company;
mod crash;
mod ends;
mod guards;
mod owners;
mod steps;
mod versions;
mod waits;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

/// No unique constraint: a step done twice shall leave two rows. The sequence counts attempts, those that were rolled back
/// too.
const EFFECTS: &str = "
    CREATE TABLE effects (n bigserial, what text);
    CREATE FUNCTION effect(what text) RETURNS text LANGUAGE sql AS
        $$ INSERT INTO effects (what) VALUES (effect.what) RETURNING effects.what $$";

/// A cluster with [`EFFECTS`], and a superuser's session.
fn effects(settings: &[&str]) -> (Cluster, Client) {
    let cluster = Cluster::with(settings);
    let mut db = cluster.admin();
    db.run(EFFECTS);
    (cluster, db)
}

/// Creates a procedure that logs each call of it, for [`calls`]. `r` is there for results of steps.
fn procedure(db: &mut Client, name: &str, declare: &str, body: &str) {
    db.run(&format!(
        "CREATE OR REPLACE PROCEDURE {name}(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $procedure$
         DECLARE r jsonb; {declare}
         BEGIN
             RAISE LOG 'called {name}.';
             {body}
         END $procedure$"
    ));
}

/// How often a procedure was called from its top: what its steps cost beside their own work.
fn calls(cluster: &Cluster, name: &str) -> usize {
    cluster.logged(&format!("LOG:  called {name}."))
}

/// Statements that call the step `effect` with a text.
fn step(name: &str, text: &str) -> String {
    format!("CALL wf_step('{name}', 'effect', jsonb_build_object('what', {text}), r);")
}

fn start(db: &mut Client, workflow: &str, id: &str, input: &Value) {
    db.run(&format!("SELECT wf_start('{workflow}', '{input}', id => '{id}')"));
}

fn attempts(db: &mut Client) -> i64 {
    db.one("SELECT last_value FROM effects_n_seq")
}

/// Every effect in order, as far as it was committed.
fn log(db: &mut Client) -> Vec<String> {
    db.all("SELECT what FROM effects ORDER BY n")
}

/// The history of an instance, one text an entry.
fn history(db: &mut Client, id: &str) -> Vec<String> {
    db.all(&format!(
        "SELECT concat_ws(' ', name, status, sqlstate) FROM wf.steps WHERE id = '{id}' ORDER BY n"
    ))
}

fn queues_are_empty(db: &mut Client) {
    eventually(SOON, "queues are empty", || {
        db.count("wf_internal.ready") + db.count("wf_internal.controls") + db.count("wf_internal.timers") == 0
    });
}

/// Waits until there are that many effects.
fn effects_reach(db: &mut Client, count: i64) {
    eventually(SOON, &format!("{count} effects"), || db.count("effects") >= count);
}

/// `n` steps, each with an effect of its own.
const CHAIN: (&str, &str) = (
    "sum bigint := 0;",
    "FOR i IN 1..(input->>'n')::int LOOP
         CALL wf_step('link', 'INSERT INTO effects (what) VALUES ($1->>''i'') RETURNING what::int',
                      jsonb_build_object('i', i), r);
         sum := sum + (r->>0)::int;
     END LOOP;
     result := to_jsonb(sum);",
);

fn chain(db: &mut Client) {
    procedure(db, "chain", CHAIN.0, CHAIN.1);
}

/// The effects and the history of a whole [`CHAIN`], the last run of its id, are there, each once.
fn chain_is_whole(db: &mut Client, id: &str, n: i64) {
    // Thousands of steps, on a machine that is busy with other things.
    eventually(Duration::from_secs(120), &format!("{id} ends"), || {
        !matches!(db.status(id).as_str(), "pending" | "running" | "waiting")
    });
    assert_eq!(db.result(id), json!(n * (n + 1) / 2));
    let steps = format!("wf.steps WHERE id = '{id}' AND run = (SELECT max(run) FROM wf.workflows WHERE id = '{id}')");
    assert_eq!(db.count(&format!("{steps} AND status = 'completed'")), n);
    let wrong = "occurrence <> n OR attempt <> 1 OR result <> jsonb_build_array(n) OR finished_at IS NULL";
    assert_eq!(db.count(&format!("{steps} AND ({wrong})")), 0, "entries of {id}");
    let (rows, different): (i64, i64) = (
        db.count("effects"),
        db.one("SELECT count(DISTINCT what::int) FROM effects WHERE what::int > 0"),
    );
    assert_eq!((rows, different), (n, n), "effects of {id}");
}

/// A step that does something and fails.
const BAD: &str = "CREATE FUNCTION bad(what text) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO effects (what) VALUES (bad.what);
        RAISE 'bad %', what USING ERRCODE = 'P0042', DETAIL = 'd', HINT = 'h';
    END $$";

/// Steps before the statement in question: none, an uncommitted one, and enough for commits in the middle.
const STEPS_BEFORE: [i64; 3] = [0, 1, 150];
