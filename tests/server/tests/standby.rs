//! High availability: a standby runs nothing; once promoted it goes on by itself, with all that was acknowledged if
//! replication was synchronous, else from exactly what was replicated, and does nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pg_workflow_server_tests::*;

/// Ample for some hundred instances on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// What pg_rewind needs of a server that it is to rewind later.
const REWINDABLE: &[&str] = &["wal_log_hints = on", "wal_keep_size = 1GB"];

const SCHEMA: &str = r#"
    -- No unique constraint: a step done twice shall leave two rows.
    CREATE TABLE effects (instance text, step text);
    CREATE TABLE ticks (at text);
    CREATE FUNCTION effect(instance text, step text) RETURNS void LANGUAGE sql AS
        $$ INSERT INTO effects VALUES (instance, step) $$;
    CREATE FUNCTION mixed(i text, nap int) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('one', 'effect', jsonb_build_object('instance', i, 'step', 'one'));
        PERFORM wf_sleep(nap * interval '1 ms');
        PERFORM wf_step('two', 'effect', jsonb_build_object('instance', i, 'step', 'two'));
        PERFORM wf_wait_signal('go');
        PERFORM wf_step('three', 'WITH nap AS MATERIALIZED (SELECT pg_sleep(0.01))
                                  INSERT INTO effects SELECT $1#>>''{}'', ''three'' FROM nap', to_jsonb(i));
        RETURN wf_task('job', 'jobs', retry => '{"max_attempts": 0, "first_delay": "10 ms"}');
    END $$;
    CREATE FUNCTION tick(at text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN PERFORM wf_step('tick', 'INSERT INTO ticks SELECT $1#>>''{}''', to_jsonb(at)); END $$;
    SELECT wf_schedule('ticks', '1 seconds', 'tick', time_key => 'at', catch_up => 'all', catch_up_window => '1 hour',
        overlap => 'allow')"#;

/// Effects of an instance that has ended.
const EFFECTS: i64 = 3;

/// Workers of ours in any database of a server.
const OURS: &str = "pg_stat_activity WHERE backend_type LIKE 'pg_workflow %'";

/// What clients know of what they have done: only what was acknowledged.
#[derive(Default)]
struct Book {
    /// In the order of their commits.
    started: Vec<usize>,
    /// Started in a transaction of which no answer came.
    unknown: Option<usize>,
    signalled: BTreeSet<usize>,
    /// Results of tasks by instance, each of its own.
    completed: BTreeMap<String, Value>,
    reports: usize,
}

/// Starts instances and signals most of them until the connection breaks.
fn start(db: &mut Client, book: &Mutex<Book>) {
    let first = book.lock().unwrap().started.len();
    for n in first.. {
        let nap = [1, 20, 100, 400, 1500][n % 5];
        book.lock().unwrap().unknown = Some(n);
        let start = format!("SELECT wf_start('mixed', '{{\"i\": \"{n}\", \"nap\": {nap}}}', id => '{n}')");
        if db.attempt(&start).is_err() {
            return;
        }
        let mut known = book.lock().unwrap();
        known.unknown = None;
        known.started.push(n);
        drop(known);
        // Each third waits for it until all is over.
        if n % 3 > 0 {
            if db.attempt(&signal(n)).is_err() {
                return;
            }
            book.lock().unwrap().signalled.insert(n);
        }
    }
}

/// Sent again if the answer was lost: the key makes it one.
fn signal(n: usize) -> String {
    format!("SELECT wf_signal('{n}', 'go', key => 'go')")
}

/// A worker of the tasks, until the connection breaks or it is told to stop.
fn work(db: &mut Client, book: &Mutex<Book>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(rows) = db.query("SELECT task, id FROM wf_poll('jobs', max => 5, lease => '3 s')", &[]) else {
            return;
        };
        if rows.is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        for row in rows {
            let (task, id): (String, String) = (row.get(0), row.get(1));
            let number = {
                let mut known = book.lock().unwrap();
                known.reports += 1;
                known.reports
            };
            match db.attempt(&format!("SELECT wf_complete('{task}', '{number}')")) {
                Ok(()) => {
                    book.lock().unwrap().completed.insert(id, json!(number));
                }
                // Late, and another has it.
                Err(failure) if failure.sqlstate == "WF007" => {}
                Err(_) => return,
            }
        }
    }
}

/// Clients work on `primary` until `blow` has ended it; it is called when hundreds of instances are in flight.
fn under_load(primary: &Cluster, book: &Mutex<Book>, blow: impl FnOnce()) {
    let before = book.lock().unwrap().started.len();
    let (mut starter, mut worker) = (primary.admin(), primary.admin());
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| start(&mut starter, book));
        scope.spawn(|| work(&mut worker, book, &AtomicBool::new(false)));
        eventually(LONG, "300 are started", || {
            starting.is_finished() || book.lock().unwrap().started.len() >= before + 300
        });
        blow();
    });
}

/// Sends the signals that are missing and works until all instances of the book have ended; nothing was done twice.
fn finish(primary: &Cluster, book: &Mutex<Book>) {
    let stop = AtomicBool::new(false);
    let (mut db, mut worker) = (primary.admin(), primary.admin());
    let started = book.lock().unwrap().started.clone();
    let missing: Vec<usize> = {
        let book = book.lock().unwrap();
        started
            .iter()
            .chain(&book.unknown)
            .copied()
            .filter(|n| !book.signalled.contains(n))
            .collect()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work(&mut worker, book, &stop));
        for n in missing {
            // 42704: it was never started; 55000: it had the signal and has ended.
            if let Err(failure) = db.attempt(&signal(n)) {
                assert!(
                    ["WF003", "42704", "55000"].contains(&failure.sqlstate.as_str()),
                    "{failure:?}"
                );
            }
        }
        let left = "wf.workflows WHERE workflow = 'mixed' AND finished_at IS NULL";
        let begun = std::time::Instant::now();
        while db.count(left) > 0 && begun.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
        let rows: Vec<String> = db.all(&format!(
            "SELECT concat_ws(' | ', id, status, waiting_for, error) FROM {left} LIMIT 10"
        ));
        assert!(rows.is_empty(), "not ended: {rows:#?}");
    });
    let total = db.count("wf.workflows WHERE workflow = 'mixed' AND status = 'completed'");
    assert!(total >= started.len() as i64, "{total} of {}", started.len());
    let wrong: Vec<String> = db.all(
        "SELECT concat_ws(' ', instance, step, count(*)) FROM effects GROUP BY instance, step HAVING count(*) <> 1",
    );
    assert!(wrong.is_empty(), "done twice: {wrong:?}");
    assert_eq!(db.count("effects"), total * EFFECTS);
    let results = db
        .query("SELECT id, result FROM wf.workflows WHERE workflow = 'mixed'", &[])
        .unwrap();
    let results: BTreeMap<String, Value> = results.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (id, result) in &book.lock().unwrap().completed {
        assert_eq!(results.get(id), Some(result), "result of the task of {id}");
    }
    eventually(LONG, "times of the schedule are caught up", || {
        db.count("wf.schedules WHERE next_fire > now()") == 1
    });
    assert_eq!(
        db.one::<i64>("SELECT count(*) - count(DISTINCT at) FROM ticks"),
        0,
        "no time twice"
    );
    assert_eq!(db.count("wf_health() WHERE NOT ok AND item <> 'work'"), 0);
}

/// Reports of tasks are looked at in the end.
fn nothing_acknowledged_is_lost(db: &mut Client, book: &Mutex<Book>) {
    let book = book.lock().unwrap();
    let present: BTreeSet<String> = db.all::<String>("SELECT id FROM wf.workflows").into_iter().collect();
    let lost: Vec<_> = book
        .started
        .iter()
        .filter(|n| !present.contains(&n.to_string()))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let signals: BTreeSet<String> = db.all::<String>("SELECT id FROM wf.signals").into_iter().collect();
    let lost: Vec<_> = book
        .signalled
        .iter()
        .filter(|n| !signals.contains(&n.to_string()))
        .collect();
    assert!(lost.is_empty(), "signals acknowledged and lost: {lost:?}");
}

/// In one snapshot: each effect has its record and each record its effect.
fn effects_and_records_agree(db: &mut Client) {
    let wrong: Vec<String> = db.all(
        "SELECT concat_ws(' ', instance, step, e.n, s.n)
         FROM (SELECT instance, step, count(*) AS n FROM effects GROUP BY 1, 2) e
         FULL JOIN (SELECT id AS instance, name AS step, count(*) AS n FROM wf.steps
                    WHERE kind = 'step' AND workflow = 'mixed' AND status = 'completed' GROUP BY 1, 2) s USING (instance, step)
         WHERE e.n IS DISTINCT FROM 1 OR s.n IS DISTINCT FROM 1",
    );
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn rests(standby: &Cluster) {
    let mut db = standby.admin();
    throughout(Duration::from_millis(1500), "the standby rests", || {
        db.one::<bool>("SELECT pg_is_in_recovery()") && db.count(OURS) == 0
    });
}

fn caught_up(primary: &Cluster, standby: &Cluster) {
    let at: String = primary.admin().one("SELECT pg_current_wal_lsn()::text");
    let mut db = standby.admin();
    eventually(LONG, "the standby has caught up", || {
        db.one::<Option<bool>>(&format!("SELECT pg_last_wal_replay_lsn() >= '{at}'")) == Some(true)
    });
}

/// The two servers take turns: each is killed once, the other promoted, and the first comes back as its standby.
#[test]
fn synchronous_replication_loses_nothing() {
    let a = Cluster::with(REWINDABLE);
    a.admin().run(SCHEMA);
    let b = a.standby();
    let book = Mutex::new(Book::default());
    let mut random = Random::new();
    for (primary, standby) in [(&a, &b), (&b, &a)] {
        primary.reconfigure(&["synchronous_standby_names = '*'"]);
        let mut db = primary.admin();
        eventually(SOON, "the standby is synchronous", || {
            db.count("pg_stat_replication WHERE sync_state = 'sync'") == 1
        });
        drop(db);
        under_load(primary, &book, || {
            // The moment of the blow is left to chance.
            std::thread::sleep(Duration::from_millis(random.below(300)));
            primary.kill9();
        });
        rests(standby);
        standby.reconfigure(&["synchronous_standby_names = ''"]);
        standby.promote();
        nothing_acknowledged_is_lost(&mut standby.admin(), &book);
        // By itself: what sleeps wakes up before any client says a word.
        let mut db = standby.admin();
        eventually(LONG, "nobody sleeps any more", || {
            db.count("wf.workflows WHERE waiting_for LIKE 'sleep%'") == 0
        });
        drop(db);
        finish(standby, &book);
        book.lock().unwrap().unknown = None;
        primary.follow(standby, true);
        rests(primary);
    }
    caught_up(&a, &b);
    let effects = |cluster: &Cluster| cluster.admin().count("effects");
    assert_eq!(effects(&a), effects(&b));
}

/// What the standby had not received has not happened; the rest goes on from there.
#[test]
fn asynchronous_replication_goes_on_from_what_was_replicated() {
    let primary = Cluster::with(REWINDABLE);
    primary.admin().run(SCHEMA);
    let standby = primary.standby();
    let book = Mutex::new(Book::default());
    under_load(&primary, &book, || {
        caught_up(&primary, &standby);
        let receiver: i32 = standby.admin().one("SELECT pid FROM pg_stat_wal_receiver");
        freeze(receiver.cast_unsigned());
        // More than the sockets on the way may hold.
        primary
            .admin()
            .run("SELECT pg_logical_emit_message(false, 'x', repeat(md5('x'), 250000))");
        let before = book.lock().unwrap().started.len();
        eventually(LONG, "100 more are started", || {
            book.lock().unwrap().started.len() >= before + 100
        });
        primary.kill9();
        thaw(receiver.cast_unsigned());
    });
    let mut db = standby.admin();
    // What was received may end in the middle of a record.
    let mut replayed = String::new();
    eventually(LONG, "what was received is replayed", || {
        std::thread::sleep(Duration::from_millis(300));
        let before = std::mem::replace(&mut replayed, db.one("SELECT pg_last_wal_replay_lsn()::text"));
        before == replayed && db.count("pg_stat_wal_receiver WHERE status = 'streaming'") == 0
    });
    effects_and_records_agree(&mut db);
    // One client has started them one after the other: those that are there are the first.
    let present = db.count("wf.workflows WHERE workflow = 'mixed'");
    let first: i64 = db.one("SELECT max(id::int8) + 1 FROM wf.workflows WHERE workflow = 'mixed'");
    assert_eq!(present, first);
    let started = book.lock().unwrap().started.len();
    assert!((300..started as i64).contains(&present), "{present} of {started}");

    rests(&standby);
    standby.promote();
    // The client repeats what it has got no answer for, or an answer that is void now. The keys make it one.
    for n in present..started as i64 + 1 {
        db.run(&format!(
            "SELECT wf_start('mixed', '{{\"i\": \"{n}\", \"nap\": 1}}', id => '{n}')"
        ));
    }
    {
        let mut book = book.lock().unwrap();
        // The last one may have come as far as its signal, or not.
        book.unknown = Some(started);
        book.signalled.clear();
    }
    finish(&standby, &book);
    // The former primary has gone on for a while by itself. That is undone, and it follows.
    primary.follow(&standby, true);
    caught_up(&standby, &primary);
    rests(&primary);
    let mut former = primary.admin();
    assert_eq!(former.count("effects"), db.count("effects"));
    effects_and_records_agree(&mut former);
}

const NAPS: &str = "
    CREATE TABLE effects (instance text, step text);
    CREATE FUNCTION naps(i text) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        FOR n IN 1..6 LOOP
            PERFORM wf_step('nap', 'INSERT INTO effects SELECT $1->>0, $1->>1; SELECT pg_sleep(0.3)', jsonb_build_array(i, n));
            PERFORM wf_sleep('0.1 s');
        END LOOP;
        RETURN i;
    END $$;
    CREATE FUNCTION waits() RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM wf_wait_signal('go'); RETURN 'went'; END $$";

/// As Patroni and its like handle servers: restarts, switchovers, starts in recovery that are promoted later.
#[test]
fn restarts_and_switchovers_in_the_middle() {
    let a = Cluster::new();
    let mut db = a.admin();
    db.run(NAPS);
    db.run("SELECT wf_start('waits', id => 'w')");
    let naps = |db: &mut Client, round: &str| {
        db.run(&format!(
            "SELECT wf_start('naps', jsonb_build_object('i', '{round}' || n), id => '{round}' || n) FROM generate_series(1, 3) n"
        ));
        db.in_step(&format!("{round}1"), "nap");
    };
    let ended = |db: &mut Client, round: &str| {
        for n in 1..=3 {
            assert_eq!(db.result(&format!("{round}{n}")), json!(format!("{round}{n}")));
        }
        let wrong: Vec<String> = db.all(
            "SELECT concat_ws(' ', instance, step, count(*)) FROM effects GROUP BY instance, step HAVING count(*) <> 1",
        );
        assert!(wrong.is_empty(), "done twice: {wrong:?}");
        assert_eq!(db.count(&format!("effects WHERE instance LIKE '{round}%'")), 18);
    };

    // A restart of the primary, and one of the standby.
    let b = a.standby();
    naps(&mut db, "restart");
    drop(db);
    a.restart();
    b.restart();
    rests(&b);
    ended(&mut a.admin(), "restart");

    // A switchover: the primary is stopped, the other promoted, and the first started again as its standby.
    caught_up(&a, &b);
    naps(&mut a.admin(), "switch");
    a.stop(Stop::Fast);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| b.admin().result("w"));
        let mut db = b.admin();
        eventually(SOON, "a session waits there", || {
            db.count("pg_stat_activity WHERE query LIKE 'SELECT wf_result(''w''%' AND state = 'active'") == 1
        });
        b.promote();
        db.run("SELECT wf_signal('w', 'go')");
        // It is not woken, but looks.
        assert_eq!(waiting.join().unwrap(), json!("went"));
    });
    a.follow(&b, false);
    ended(&mut b.admin(), "switch");
    caught_up(&b, &a);
    rests(&a);

    // What is as it should be on a standby is no alarm.
    let mut db = a.admin();
    let health: Vec<String> = db.all("SELECT concat_ws(': ', item, ok, detail, hint) FROM wf_health()");
    let expected = [
        "launcher: t: not running: this is a standby, its promotion starts it",
        "scheduler: t: not running: this is a standby",
    ];
    for line in expected {
        assert!(health.iter().any(|found| found == line), "{health:#?}");
    }
    assert_eq!(db.count("wf_health() WHERE NOT ok"), 0, "{health:#?}");
    drop(db);

    // Started in recovery with nobody to follow, and promoted when it is known who leads.
    naps(&mut b.admin(), "leader");
    a.stop(Stop::Fast);
    b.stop(Stop::Fast);
    b.start_in_recovery();
    rests(&b);
    b.promote();
    ended(&mut b.admin(), "leader");

    // Executors that wait for a synchronous standby that is gone do not keep the server from stopping.
    b.reconfigure(&["synchronous_standby_names = 'gone'"]);
    let mut db = b.admin();
    db.run("SET synchronous_commit = local; SELECT wf_start('naps', '{\"i\": \"gone1\"}', id => 'gone1')");
    eventually(SOON, "an executor waits for the standby", || {
        db.count("pg_stat_activity WHERE backend_type = 'pg_workflow executor' AND wait_event = 'SyncRep'") > 0
    });
    drop(db);
    b.stop(Stop::Fast);
    b.configure(&["synchronous_standby_names = ''"]);
    b.start();
    let mut db = b.admin();
    assert_eq!(db.result("gone1"), json!("gone1"));
    assert_eq!(db.count("effects WHERE instance = 'gone1'"), 6);
}
