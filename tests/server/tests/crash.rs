//! Promise 1: exactly once for the database. Whatever is killed at whatever moment, each step's effect is there once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pg_workflow_server_tests::*;

const ROUNDS: usize = 12;
/// Instances that the client starts in each round.
const STARTS: usize = 40;
/// Effects of an instance that has ended.
const EFFECTS: i64 = 11;

const SCHEMA: &str = "
    -- No unique constraint: a step done twice shall leave two rows.
    CREATE TABLE effects (instance text, step text);
    CREATE FUNCTION effect(instance text, step text) RETURNS void LANGUAGE sql AS
        $$ INSERT INTO effects VALUES (instance, step) $$;

    -- Fails two times out of three. A sequence counts what a rollback takes back.
    CREATE SEQUENCE attempts;
    CREATE FUNCTION flaky(instance text, step text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO effects VALUES (instance, step);
        IF nextval('attempts') % 3 <> 0 THEN RAISE 'not this time'; END IF;
    END $$;

    CREATE FUNCTION mixed(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    DECLARE
        i text := input->>'i';
        got jsonb;
    BEGIN
        PERFORM wf_step('one', 'effect', jsonb_build_object('instance', i, 'step', 'one'));
        PERFORM wf_sleep((input->>'nap')::int * interval '1 ms');
        PERFORM wf_step('two', 'effect', jsonb_build_object('instance', i, 'step', 'two'));
        got := wf_wait_signal('go');
        PERFORM wf_step('three', 'effect', jsonb_build_object('instance', i, 'step', 'three ' || (got #>> '{}')));
        PERFORM wf_step('flaky', 'flaky', jsonb_build_object('instance', i, 'step', 'flaky'),
                        retry => '{\"max_attempts\": 0, \"first_delay\": \"10 ms\", \"backoff\": 1}');
        FOR k IN 1..5 LOOP
            PERFORM wf_step('loop', 'effect', jsonb_build_object('instance', i, 'step', 'loop ' || k));
        END LOOP;
        got := wf_wait_signal('never', timeout => '200 ms');
        PERFORM wf_step('slow', 'WITH nap AS MATERIALIZED (SELECT pg_sleep(0.015))
                                 INSERT INTO effects SELECT $1->>''i'', ''slow'' FROM nap', input);
        PERFORM wf_step('last', 'effect', jsonb_build_object('instance', i, 'step', 'last'));
        RETURN to_jsonb(i);
    END $$";

/// What a client knows of the instances that it started.
#[derive(Default)]
struct Book {
    /// Started in a transaction whose commit was acknowledged.
    acknowledged: HashSet<String>,
    /// Started in a transaction that broke off: there or not.
    unknown: HashSet<String>,
    /// Sent the signal, acknowledged.
    signalled: HashSet<String>,
}

impl Book {
    /// Works until the connection breaks.
    fn work(&mut self, db: &mut Client, round: usize, started: &AtomicBool) {
        for n in 0.. {
            if n < STARTS {
                let id = format!("{round}-{n}");
                let nap = [1, 5, 50, 200, 1000][n % 5];
                let start = format!("SELECT wf_start('mixed', '{{\"i\": \"{id}\", \"nap\": {nap}}}', id => '{id}')");
                // Some with their signal, in one transaction.
                let signal = format!("SELECT wf_signal('{id}', 'go', '\"x\"', key => 'go')");
                let both = n % 3 == 0;
                let sql = if both {
                    format!("BEGIN; {start}; {signal}; COMMIT")
                } else {
                    start
                };
                self.unknown.insert(id.clone());
                if db.attempt(&sql).is_err() {
                    return;
                }
                self.unknown.remove(&id);
                self.acknowledged.insert(id.clone());
                if both {
                    self.signalled.insert(id);
                }
                started.store(n >= STARTS / 4, Ordering::Relaxed);
            }
            // To one that has none yet, of this round or another; sent again if the answer was lost: the key makes it one.
            let missing = self.acknowledged.difference(&self.signalled).next().cloned();
            let lazy = n % 2 == 0 && n < STARTS;
            let (id, sql) = match missing {
                Some(id) if !lazy => (
                    Some(id.clone()),
                    format!("SELECT wf_signal('{id}', 'go', '\"x\"', key => 'go')"),
                ),
                _ => (None, "SELECT pg_sleep(0.002)".to_owned()),
            };
            match db.attempt(&sql) {
                Ok(()) => self.signalled.extend(id),
                // A run that has ended took the signal whose acknowledgement was lost.
                Err(failure) if failure.sqlstate == "55000" => self.signalled.extend(id),
                Err(failure) => {
                    assert!(matches!(&failure.sqlstate[..2], "08" | "57"), "{failure:?}");
                    return;
                }
            }
        }
    }

    /// What must be there at the end.
    fn balance(&mut self, cluster: &Cluster) {
        let mut db = cluster.admin();
        let present: HashSet<String> = db.all::<String>("SELECT id FROM wf.workflows").into_iter().collect();
        let lost: Vec<_> = self.acknowledged.difference(&present).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let invented: Vec<_> = present
            .iter()
            .filter(|id| !self.acknowledged.contains(*id) && !self.unknown.contains(*id))
            .collect();
        assert!(invented.is_empty(), "never started: {invented:?}");

        for id in &present {
            // Accepted (or sent before, or taken and ended).
            let _ = db.attempt(&format!("SELECT wf_signal('{id}', 'go', '\"x\"', key => 'go')"));
        }
        let total = present.len() as i64;
        let begun = std::time::Instant::now();
        while db.count("wf.workflows WHERE status = 'completed'") < total {
            if begun.elapsed() > Duration::from_secs(180) {
                let rows: Vec<String> = db.all(
                    "SELECT concat_ws(' | ', id, status, waiting_for, error) FROM wf.workflows WHERE status <> 'completed' LIMIT 20",
                );
                let ready = db.count("wf_internal.ready");
                panic!(
                    "not completed, {ready} ready: {rows:#?}\n{:#?}",
                    db.all::<Value>("SELECT to_jsonb(w) FROM wf.workers w")
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let wrong: Vec<String> = db.all(
            "SELECT concat_ws(' ', instance, step, count(*)) FROM effects GROUP BY instance, step HAVING count(*) <> 1",
        );
        assert!(wrong.is_empty(), "done twice: {wrong:?}");
        let wrong: Vec<String> = db.all(&format!(
            "SELECT concat_ws(' ', w.id, count(e.*)) FROM wf.workflows w LEFT JOIN effects e ON e.instance = w.id
             GROUP BY w.id HAVING count(e.*) <> {EFFECTS}"
        ));
        assert!(wrong.is_empty(), "not every effect: {wrong:?}");
        assert_eq!(db.count("effects"), total * EFFECTS);
        assert_eq!(db.count("wf.signals"), total);
        assert_eq!(db.count("wf.workflows WHERE result <> to_jsonb(id)"), 0);
        eventually(SOON, "the queue empties", || db.count("wf_internal.ready") == 0);
        assert_eq!(db.count("wf_internal.timers"), 0);
        eprintln!("{total} instances, {} unacknowledged", self.unknown.len());
    }
}

/// Lets a client work and calls `kill` at random moments, round after round.
fn rounds(mut kill: impl FnMut(&Cluster, &mut Random)) {
    let cluster = Cluster::with(&["wal_buffers = 1MB"]);
    cluster.admin().run(SCHEMA);
    let mut random = Random::new();
    let mut book = Book::default();
    for round in 0..ROUNDS {
        let mut db = cluster.admin();
        let started = AtomicBool::new(false);
        let wait = Duration::from_micros(random.below(700_000));
        std::thread::scope(|scope| {
            let client = scope.spawn(|| book.work(&mut db, round, &started));
            eventually(SOON, "the client starts some", || {
                started.load(Ordering::Relaxed) || client.is_finished()
            });
            // The moment of the blow is the one thing here that is left to chance.
            std::thread::sleep(wait);
            kill(&cluster, &mut random);
        });
    }
    assert!(book.acknowledged.len() >= ROUNDS * STARTS / 4);
    book.balance(&cluster);
}

#[test]
fn sigkill_of_the_server() {
    rounds(|cluster, _| {
        cluster.kill9();
        cluster.start();
    });
}

#[test]
fn sigkill_of_an_executor() {
    let mut killed = 0;
    rounds(|cluster, random| {
        let mut db = cluster.admin();
        let mut pids = Vec::new();
        eventually(SOON, "there is an executor", || {
            pids = db.all::<i32>("SELECT pid FROM wf.workers WHERE kind = 'executor'");
            !pids.is_empty()
        });
        let pid = pids[random.below(pids.len() as u64) as usize];
        kill(pid.cast_unsigned());
        // The postmaster ends all other sessions and starts over.
        eventually(SOON, "the crash is noticed", || db.attempt("SELECT 1").is_err());
        cluster.wait_ready();
        killed += 1;
        eventually(SOON, "the server recovers", || {
            cluster.logged("database system is ready to accept connections") == killed + 1
        });
    });
    assert_eq!(killed, ROUNDS);
}
