//! Promise 1 for procedures: whatever is killed at whatever moment, each step's effect is there once.

use super::*;

#[test]
fn a_chain_goes_on_from_what_was_committed() {
    let (cluster, mut db) = effects(&[]);
    chain(&mut db);
    let n = 20_000;
    start(&mut db, "chain", "c", &json!({"n": n}));
    effects_reach(&mut db, 4000);
    let pid: i32 = db.one("SELECT pid FROM wf.workers WHERE kind = 'executor' AND id = 'c'");
    kill(pid.cast_unsigned());
    eventually(SOON, "the crash is noticed", || db.attempt("SELECT 1").is_err());
    cluster.wait_ready();
    let mut db = cluster.admin();
    let done = db.count("effects");
    assert!((4000..n).contains(&done), "{done}");
    chain_is_whole(&mut db, "c", n);
    // What is lost is at most a transaction; a crash skips 32 numbers of a sequence.
    assert!(
        attempts(&mut db) <= n + 60 + 33 + 5 * 60,
        "{} attempts",
        attempts(&mut db)
    );
    assert!(calls(&cluster, "chain") <= 8, "{} calls", calls(&cluster, "chain"));
    queues_are_empty(&mut db);
}

/// Waits until processes are gone that have lost their postmaster.
fn all_go(processes: &[u32]) {
    let begun = Instant::now();
    while processes.iter().any(|pid| is_alive(*pid)) {
        if begun.elapsed() > SOON {
            // Nobody else would end them.
            processes.iter().for_each(|pid| kill(*pid));
            panic!("processes without a postmaster go on");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_dead_postmaster_ends_a_chain() {
    let (cluster, mut db) = effects(&[]);
    chain(&mut db);
    start(&mut db, "chain", "c", &json!({"n": 1_000_000}));
    effects_reach(&mut db, 500);
    drop(db);
    // No new server starts as long as one of the old one's processes is there, and a chain is never idle.
    all_go(&cluster.kill_postmaster());
    cluster.start();
    let mut db = cluster.admin();
    let before = db.count("effects");
    effects_reach(&mut db, before + 500);
    db.run("SELECT wf_cancel('c')");
    assert_eq!(db.failure("c").sqlstate, "WF002");
    let done = db.count("effects");
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT what) FROM effects"), done);
    assert_eq!(db.count("wf.steps WHERE id = 'c' AND status = 'completed'"), done);
}

#[test]
fn shutdowns_and_terminations_in_the_middle() {
    let (cluster, mut db) = effects(&[]);
    chain(&mut db);
    let n = 20_000;
    start(&mut db, "chain", "c", &json!({"n": n}));
    let mut before = 0;
    for round in 0..3 {
        effects_reach(&mut db, before + 500);
        if round == 1 {
            db.run("SELECT pg_terminate_backend(pid) FROM wf.workers WHERE kind = 'executor'");
        } else {
            drop(db);
            let took = cluster.stop(Stop::Fast);
            assert!(took < Duration::from_secs(10), "{took:?}");
            cluster.start();
            db = cluster.admin();
        }
        let now = db.count("effects");
        assert!(now >= before + 500);
        before = now;
    }
    chain_is_whole(&mut db, "c", n);
    assert!(calls(&cluster, "chain") <= 20, "{} calls", calls(&cluster, "chain"));
    assert_eq!(cluster.logged("PANIC") + cluster.logged("terminated by signal"), 0);
    queues_are_empty(&mut db);
}

const ROUNDS: usize = 10;
/// Instances that are started in each round.
const CHAINS: usize = 3;
const MIXED: usize = 12;
const LINKS: i64 = 1500;
/// Effects of a mixed one that has ended.
const MIXED_EFFECTS: i64 = 1 + 40 + 2 + 30 + 6;

const CRASH_SCHEMA: &str = "
    CREATE TABLE effects (instance text, step text);
    CREATE FUNCTION effect(instance text, step text) RETURNS void LANGUAGE sql AS
        $$ INSERT INTO effects VALUES (instance, step) $$;
    CREATE FUNCTION bad(instance text, step text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO effects VALUES (instance, step);
        RAISE 'bad' USING ERRCODE = 'P0042';
    END $$;
    -- Fails two times out of three. A sequence counts what a rollback takes back.
    CREATE SEQUENCE tries;
    CREATE FUNCTION flaky(instance text, step text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO effects VALUES (instance, step);
        IF nextval('tries') % 3 <> 0 THEN RAISE 'not this time'; END IF;
    END $$;
    CREATE TABLE items (k int); INSERT INTO items SELECT generate_series(1, 40);

    CREATE PROCEDURE links(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
    DECLARE i text := input->>'i'; r jsonb;
    BEGIN
        FOR k IN 1..(input->>'n')::int LOOP
            CALL wf_step('link', 'effect', jsonb_build_object('instance', i, 'step', 'link ' || k), r);
        END LOOP;
        result := to_jsonb(i);
    END $$;

    CREATE PROCEDURE inner_steps(i text, n int) LANGUAGE plpgsql AS $$
    DECLARE r jsonb;
    BEGIN
        FOR k IN 1..n LOOP
            CALL wf_step('inner', 'effect', jsonb_build_object('instance', i, 'step', 'inner ' || k), r);
        END LOOP;
    END $$;

    CREATE PROCEDURE mixed(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
    DECLARE i text := input->>'i'; r jsonb; got jsonb; item record;
    BEGIN
        CALL wf_step('one', 'effect', jsonb_build_object('instance', i, 'step', 'one'), r);
        FOR item IN SELECT k FROM items ORDER BY k LOOP
            CALL wf_step('item', 'effect', jsonb_build_object('instance', i, 'step', 'item ' || item.k), r);
            IF item.k % 20 = 0 THEN PERFORM wf_sleep((input->>'nap')::int * interval '1 ms'); END IF;
        END LOOP;
        BEGIN
            CALL wf_step('try', 'effect', jsonb_build_object('instance', i, 'step', 'try'), r);
            CALL wf_step('bad', 'bad', jsonb_build_object('instance', i, 'step', 'bad'), r);
            RAISE 'not reached';
        EXCEPTION WHEN SQLSTATE 'P0042' THEN
            CALL wf_step('undo', 'effect', jsonb_build_object('instance', i, 'step', 'undo'), r);
        END;
        CALL inner_steps(i, 30);
        CALL wf_wait_signal('go', NULL, got);
        CALL wf_step('two', 'effect', jsonb_build_object('instance', i, 'step', 'two ' || (got #>> '{}')), r);
        CALL wf_step('flaky', 'flaky', jsonb_build_object('instance', i, 'step', 'flaky'), r,
                     retry => '{\"max_attempts\": 0, \"first_delay\": \"10 ms\", \"backoff\": 1}');
        PERFORM wf_step('form', 'effect', jsonb_build_object('instance', i, 'step', 'form'));
        CALL wf_step('slow', 'WITH nap AS MATERIALIZED (SELECT pg_sleep(0.015))
                              INSERT INTO effects SELECT $1->>''i'', ''slow'' FROM nap', input, r);
        got := wf_wait_signal('never', timeout => '100 ms');
        CALL wf_step('slower', 'WITH nap AS MATERIALIZED (SELECT pg_sleep(0.07))
                                INSERT INTO effects SELECT $1->>''i'', ''slower'' FROM nap', input, r);
        CALL wf_step('last', 'effect', jsonb_build_object('instance', i, 'step', 'last'), r);
        result := to_jsonb(i);
    END $$";

/// What a client knows of the instances that it started.
#[derive(Default)]
struct Book {
    acknowledged: HashSet<String>,
    /// Started in a transaction that broke off: there or not.
    unknown: HashSet<String>,
}

impl Book {
    /// Works until the connection breaks.
    fn work(&mut self, db: &mut Client, round: usize, started: &AtomicBool) {
        for n in 0..CHAINS + MIXED {
            let id = format!("{round}-{n}");
            let nap = [1, 5, 50, 300][n % 4];
            let workflow = if n % 5 == 0 { "links" } else { "mixed" };
            self.unknown.insert(id.clone());
            let input = json!({"i": id, "n": LINKS, "nap": nap});
            if db
                .attempt(&format!("SELECT wf_start('{workflow}', '{input}', id => '{id}')"))
                .is_err()
            {
                return;
            }
            self.unknown.remove(&id);
            self.acknowledged.insert(id);
            started.store(n >= CHAINS, Ordering::Relaxed);
        }
        while Self::signal(db).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// To all that wait for it; the key makes it one.
    fn signal(db: &mut Client) -> Result<(), Failure> {
        match db.attempt(
            "SELECT wf_signal(id, 'go', '\"x\"', key => 'go') FROM wf.workflows WHERE waiting_for LIKE 'signal \"go\"%'",
        ) {
            // It has ended since.
            Err(failure) if failure.sqlstate == "55000" => Ok(()),
            other => other,
        }
    }

    fn balance(&self, cluster: &Cluster) {
        let mut db = cluster.admin();
        let present: HashSet<String> = db.all::<String>("SELECT id FROM wf.workflows").into_iter().collect();
        let lost: Vec<_> = self.acknowledged.difference(&present).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let begun = Instant::now();
        while db.count("wf.workflows WHERE status <> 'completed'") > 0 {
            Self::signal(&mut db).expect("sent");
            if begun.elapsed() > Duration::from_secs(180) {
                let rows: Vec<String> = db.all(
                    "SELECT concat_ws(' | ', id, workflow, status, waiting_for, error) FROM wf.workflows WHERE status <> 'completed' LIMIT 20",
                );
                panic!(
                    "not completed: {rows:#?}\n{:#?}",
                    db.all::<Value>("SELECT to_jsonb(w) FROM wf.workers w")
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let wrong: Vec<String> = db.all(
            "SELECT concat_ws(' ', instance, step, count(*)) FROM effects GROUP BY instance, step HAVING count(*) <> 1",
        );
        assert!(wrong.is_empty(), "done twice: {wrong:?}");
        let wrong: Vec<String> = db.all(&format!(
            "SELECT concat_ws(' ', w.id, w.workflow, count(e.*)) FROM wf.workflows w LEFT JOIN effects e ON e.instance = w.id
             GROUP BY w.id, w.workflow HAVING count(e.*) <> CASE w.workflow WHEN 'links' THEN {LINKS} ELSE {MIXED_EFFECTS} END"
        ));
        assert!(wrong.is_empty(), "not every effect: {wrong:?}");
        let wrong: Vec<String> = db.all(
            "SELECT concat_ws(' ', id, n, name, status, attempt) FROM wf.steps
             WHERE name <> 'flaky' AND attempt <> 1 OR status <> CASE name WHEN 'bad' THEN 'failed' ELSE 'completed' END",
        );
        assert!(wrong.is_empty(), "in the history: {wrong:?}");
        let wrong: Vec<String> =
            db.all("SELECT concat_ws(' ', id, count(*), max(n)) FROM wf.steps GROUP BY id HAVING count(*) <> max(n)");
        assert!(wrong.is_empty(), "gaps in the history: {wrong:?}");
        assert_eq!(db.count("wf.workflows WHERE result <> to_jsonb(id)"), 0);
        queues_are_empty(&mut db);
        eprintln!("{} instances, {} unacknowledged", present.len(), self.unknown.len());
    }
}

/// Lets a client work and calls `kill` at random moments, round after round.
fn rounds(mut kill: impl FnMut(&Cluster, &mut Random, usize)) {
    let cluster = Cluster::with(&["wal_buffers = 1MB"]);
    cluster.admin().run(CRASH_SCHEMA);
    let mut random = Random::new();
    let mut book = Book::default();
    for round in 0..ROUNDS {
        let mut db = cluster.admin();
        let started = AtomicBool::new(false);
        let wait = Duration::from_micros(random.below(600_000));
        std::thread::scope(|scope| {
            let client = scope.spawn(|| book.work(&mut db, round, &started));
            eventually(SOON, "the client starts some", || {
                started.load(Ordering::Relaxed) || client.is_finished()
            });
            // The moment of the blow is the one thing here that is left to chance.
            std::thread::sleep(wait);
            kill(&cluster, &mut random, round);
        });
    }
    assert!(book.acknowledged.len() >= ROUNDS * CHAINS);
    book.balance(&cluster);
}

#[test]
fn sigkill_of_the_server() {
    rounds(|cluster, _, round| {
        if round % 2 == 0 {
            cluster.kill9();
        } else {
            // The others notice by themselves.
            all_go(&cluster.kill_postmaster());
        }
        cluster.start();
    });
}

#[test]
fn sigkill_of_an_executor() {
    let mut killed = 0;
    rounds(|cluster, random, _| {
        let mut db = cluster.admin();
        let mut pids = Vec::new();
        eventually(SOON, "there is an executor", || {
            pids = db.all::<i32>("SELECT pid FROM wf.workers WHERE kind = 'executor' ORDER BY id IS NULL");
            !pids.is_empty()
        });
        kill(pids[random.below(pids.len() as u64) as usize].cast_unsigned());
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
