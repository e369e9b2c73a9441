//! Schedules: one instance a time, whatever crashes; what is missed; whose code runs as whom; nothing while nothing is due.

use std::time::{Duration, Instant};

use pg_workflow_server_tests::*;

const TICKS: &str = "
    -- No unique constraint: a time acted on twice shall leave two rows.
    CREATE TABLE ticks (name text, at timestamptz, by text DEFAULT session_user);
    CREATE FUNCTION tick(name text, at timestamptz) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM wf_step('tick', 'INSERT INTO ticks SELECT $1->>''name'', ($1->>''at'')::timestamptz',
                        jsonb_build_object('name', name, 'at', at));
        RETURN NULL;
    END $$";

fn schedule(name: &str, schedule: &str, more: &str) -> String {
    format!("SELECT wf_schedule('{name}', '{schedule}', 'tick', '{{\"name\": \"{name}\"}}', time_key => 'at'{more})")
}

fn state<T: postgres::types::FromSqlOwned>(db: &mut Client, name: &str, what: &str) -> T {
    db.one(&format!("SELECT {what} FROM wf.schedules WHERE name = '{name}'"))
}

#[test]
fn each_time_has_one_instance_whatever_is_killed() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(TICKS);
    // Three that come at once, each second.
    let names = ["a", "b", "c"];
    for name in names {
        db.run(&schedule(
            name,
            "1 seconds",
            ", overlap => 'allow', catch_up => 'all', catch_up_window => '1 hour'",
        ));
    }
    let mut random = Random::new();
    for _ in 0..5 {
        // Around a full second, when they fire.
        let to_second: f64 = db.one("SELECT (1 - extract(epoch FROM clock_timestamp()) % 1)::float8");
        let offset = random.below(60) as f64 / 1000.0 - 0.02;
        std::thread::sleep(Duration::from_secs_f64((1.0 + to_second + offset).max(0.0)));
        cluster.kill9();
        cluster.start();
        db = cluster.admin();
    }
    eventually(SOON, "they have caught up", || {
        db.count("wf.schedules WHERE next_fire > now() AND running <= 1") == 3
    });
    db.run("SELECT wf_alter_schedule(name, paused => true) FROM wf.schedules");
    eventually(SOON, "all runs have ended", || {
        db.count("wf.workflows WHERE finished_at IS NULL") == 0
    });
    for name in names {
        let (all, distinct, span, fired): (i64, i64, i64, i64) = {
            let row = db
                .query_one(
                    "SELECT count(*), count(DISTINCT at), extract(epoch FROM max(at) - min(at))::int8 + 1,
                            (SELECT fired FROM wf.schedules s WHERE s.name = $1)
                     FROM ticks t WHERE t.name = $1",
                    &[&name],
                )
                .unwrap();
            (row.get(0), row.get(1), row.get(2), row.get(3))
        };
        assert_eq!((all, distinct, span), (fired, fired, fired), "{name}");
        assert!(fired >= 10, "{fired}");
        assert_eq!(state::<i64>(&mut db, name, "missed + skipped + failed"), 0);
    }
}

#[test]
fn what_a_downtime_leaves_is_caught_up_by_policy() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(TICKS);
    // One time, in two seconds, that the server will be down at; longer than what is no matter.
    let at: String = db.one("SELECT 'at ' || (clock_timestamp() + interval '2 s')::text");
    for (name, policy) in [
        ("none", "'none'"),
        ("last", "'last'"),
        ("all", "'all', catch_up_window => '1 hour'"),
        ("late", "'last', catch_up_window => '5 s'"),
        ("old", "'all', catch_up_window => '5 s'"),
    ] {
        db.run(&schedule(name, &at, &format!(", catch_up => {policy}")));
    }
    // Again and again: all of them side by side, or one after the other, or the last.
    let many = "overlap => 'allow', catch_up => 'all', catch_up_window => '1 hour'";
    db.run(&schedule("many", "2 seconds", &format!(", {many}")));
    let turns = "overlap => 'skip', catch_up => 'all', catch_up_window => '1 hour'";
    db.run(&schedule("turns", "2 seconds", &format!(", {turns}")));
    db.run(&schedule("one", "2 seconds", ", overlap => 'allow'"));
    cluster.stop(Stop::Fast);
    std::thread::sleep(Duration::from_secs(14));
    cluster.start();
    db = cluster.admin();
    eventually(SOON, "all have looked", || {
        db.count("wf.schedules WHERE fired + missed > 0 AND (next_fire > now() OR next_fire IS NULL)") == 8
    });
    for (name, fired) in [("none", 0), ("last", 1), ("all", 1), ("late", 0), ("old", 0)] {
        let row = db
            .query_one(
                "SELECT fired, missed, status FROM wf.schedules WHERE name = $1",
                &[&name],
            )
            .unwrap();
        assert_eq!(
            (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, &str>(2)),
            (fired, 1 - fired, "ended"),
            "{name}"
        );
    }
    // What is less than ten seconds late counts as on time, and may be skipped.
    assert!(state::<i64>(&mut db, "many", "fired") >= 6);
    assert!(state::<i64>(&mut db, "turns", "fired + skipped") >= 6);
    assert!(state::<i64>(&mut db, "turns", "fired") >= 2);
    assert_eq!(
        db.count("wf.schedules WHERE name IN ('many', 'turns') AND missed > 0"),
        0
    );
    assert!(state::<i64>(&mut db, "one", "missed") >= 4);
    // Those that ran in turn did not overlap.
    let overlaps = db.count(
        "wf.workflows a JOIN wf.workflows b ON a.schedule = 'turns' AND b.schedule = 'turns' AND a.id < b.id
         WHERE b.started_at < a.finished_at",
    );
    assert_eq!(overlaps, 0);
}

#[test]
fn it_fires_within_a_tenth_of_a_second() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(TICKS);
    let mut lags = Vec::new();
    eventually(Duration::from_secs(60), "one fires within 100 ms", || {
        let name = format!("s{}", lags.len());
        db.run(&schedule(&name, "1 seconds", ""));
        eventually(SOON, "it fires", || state::<i64>(&mut db, &name, "fired") >= 3);
        // To the beginning of the run's first turn, which comes behind the commit of the start.
        lags.extend(db.all::<f64>(&format!(
            "SELECT (extract(epoch FROM t.started_at - k.at) * 1000)::float8
             FROM wf.workflows w JOIN wf.steps t USING (run_id) JOIN ticks k ON w.input->>'name' = k.name AND w.id = k.name || '/' ||
                  to_char(k.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
             WHERE w.schedule = '{name}'"
        )));
        db.run(&format!("SELECT wf_unschedule('{name}')"));
        lags.iter().any(|lag| *lag < 100.0)
    });
    lags.sort_by(f64::total_cmp);
    eprintln!("ms from the time to the first step: {lags:.1?}");
    assert!(lags[0] >= 0.0, "never early: {lags:?}");
}

#[test]
fn schedules_are_their_owners() {
    let cluster = Cluster::new();
    let mut admin = cluster.admin();
    admin.run(
        "CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN; GRANT alice TO carol;
         CREATE ROLE nobody NOLOGIN;
         GRANT CREATE ON SCHEMA public TO alice, bob",
    );
    let mut alice = cluster.connect("postgres", "alice");
    let mut bob = cluster.connect("postgres", "bob");
    let mut carol = cluster.connect("postgres", "carol");
    alice.run(TICKS);
    // Whose process asks it, and where.
    alice.run(
        "CREATE FUNCTION mine() RETURNS timestamptz LANGUAGE plpgsql AS $$
         BEGIN
             IF current_user <> 'alice' OR session_user <> 'alice' THEN RAISE 'asked by % as %', session_user, current_user; END IF;
             RETURN '2040-01-01 00:00+00';
         END $$",
    );
    alice.run("SELECT wf_schedule('mine', 'SELECT mine()', 'tick', '{\"name\": \"mine\"}', time_key => 'at')");
    alice.run(&schedule("now", "1 seconds", ""));
    eventually(SOON, "it has run as alice", || {
        alice.count("ticks WHERE by = 'alice'") > 0
    });

    // Others see nothing, and cannot tell it from nothing; the same name is another schedule.
    assert_eq!(bob.count("wf.schedules"), 0);
    assert_eq!(
        bob.fails("SELECT wf_alter_schedule('mine', paused => true)").sqlstate,
        "42704"
    );
    assert_eq!(
        bob.fails("SELECT wf_alter_schedule('mine', paused => true, owner => 'alice')")
            .sqlstate,
        "42704"
    );
    assert!(!bob.one::<bool>("SELECT wf_unschedule('mine')"));
    assert_eq!(bob.fails("SELECT wf_schedule_run('mine')").sqlstate, "42704");
    bob.run("SELECT wf_schedule('now', '1 seconds', sql => 'SELECT 1')");
    eventually(SOON, "both run, under ids of their own", || {
        bob.count("wf.schedules WHERE fired > 1 AND failed = 0") == 1
            && admin.count("wf.schedules WHERE name = 'now' AND fired > 1 AND failed = 0") == 2
    });
    let failure = admin.fails("SELECT wf_alter_schedule('now', paused => true)");
    assert_eq!((&*failure.sqlstate, &*failure.hint), ("42725", "Pass owner => ..."));
    admin.run("SELECT wf_alter_schedule('now', paused => true, owner => 'bob')");
    assert_eq!(bob.one::<String>("SELECT status FROM wf.schedules"), "paused");

    // Members of the role control it, and do not say what it runs.
    carol.run("SELECT wf_alter_schedule('now', paused => true, schedule => '2 seconds', overlap => 'allow')");
    for change in [
        "schedule => 'SELECT now()'",
        "workflow => 'tick'",
        "sql => 'SELECT 1'",
        "input => '{}'",
    ] {
        let failure = carol.fails(&format!("SELECT wf_alter_schedule('now', {change})"));
        assert_eq!(failure.sqlstate, "42501", "{change}: {failure:?}");
    }
    let id: String = carol.one("SELECT wf_schedule_run('now')");
    eventually(SOON, "it runs, as alice", || {
        alice.count(&format!(
            "wf.workflows WHERE id = '{id}' AND owner = 'alice'::regrole AND status = 'completed'"
        )) == 1
    });

    // Her query is not asked with another's privileges, be it a superuser's, in whatever role that is at the moment.
    for (session, role) in [(&mut admin, ""), (&mut carol, "SET ROLE alice; ")] {
        session.run(&format!(
            "BEGIN; {role}SELECT wf_alter_schedule('mine', paused => true); SELECT wf_alter_schedule('mine', paused => false); COMMIT; RESET ROLE"
        ));
        eventually(SOON, "alice's executor has asked", || {
            session
                .count("wf.schedules WHERE name = 'mine' AND status = 'active' AND next_fire = '2040-01-01 00:00+00'")
                == 1
        });
        let failure = session.fails(&format!("{role}SELECT wf_schedule_preview('mine')"));
        assert_eq!(failure.sqlstate, "42501", "{failure:?}");
        session.run("RESET ROLE");
    }
    assert_eq!(alice.count("wf.schedules WHERE last_error IS NOT NULL"), 0);

    // It reads, and does not write.
    alice.run(
        "CREATE TABLE spoilt (i int);
         CREATE FUNCTION writes() RETURNS timestamptz LANGUAGE sql AS $$ INSERT INTO spoilt VALUES (1); SELECT now() + interval '1 day' $$",
    );
    let failure =
        alice.fails("SELECT wf_schedule('writes', 'SELECT writes()', 'tick', '{\"name\": \"w\"}', time_key => 'at')");
    assert_eq!(failure.sqlstate, "25006");
    // One that takes for ever is cut off, and the others of the role go on.
    alice.run("SELECT wf_schedule('slow', 'SELECT CASE WHEN pg_backend_pid() = ' || pg_backend_pid() || ' THEN now() + interval ''1 s'' ELSE (SELECT now() FROM pg_sleep(60)) END', 'tick', '{\"name\": \"slow\"}', time_key => 'at')");
    eventually(SOON, "it fails in the end", || {
        alice.count(
            "wf.schedules WHERE name = 'slow' AND status = 'failing' AND last_error LIKE 'the query has taken longer%'",
        ) == 1
    });
    // The instance of its first time is started in the transaction that then asks in vain; when it runs is another matter.
    eventually(SOON, "its first time came", || {
        alice.count("ticks WHERE name = 'slow'") == 1
    });
    assert_eq!(
        alice.count("wf.workflows WHERE schedule = 'slow'"),
        1,
        "and the query was asked for no other"
    );

    // Who cannot log in has no executor.
    admin.run("GRANT nobody TO bob");
    let failure = bob.fails("SET ROLE nobody; SELECT wf_schedule('x', '1 seconds', sql => 'SELECT 1')");
    assert_eq!(failure.sqlstate, "28000");
}

#[test]
fn a_copy_does_not_fire_before_it_is_adopted_and_a_standby_not_before_it_is_promoted() {
    let cluster = Cluster::new();
    let mut source = cluster.database("source");
    source.run(TICKS);
    source.run(&schedule("s", "1 seconds", ", catch_up => 'none'"));
    eventually(SOON, "it fires", || source.count("ticks") > 0);
    let dump = cluster.socket().join("dump.sql");
    let connection = |name: &str| {
        let mut command = program(name);
        command.arg("-h").arg(cluster.socket()).args(["-U", "postgres"]);
        command
    };
    check(connection("pg_dump").args(["-d", "source", "-f"]).arg(&dump));
    cluster.admin().run("CREATE DATABASE target");
    check(
        connection("psql")
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "target", "-f"])
            .arg(&dump),
    );
    let mut target = cluster.connect("target", "postgres");
    let before = target.count("wf.workflows");
    throughout(Duration::from_secs(3), "the copy rests", || {
        target.count("wf.workflows") == before
    });
    assert_eq!(target.one::<String>("SELECT status FROM wf.schedules"), "active");
    target.run("SELECT wf_adopt()");
    eventually(SOON, "the copy goes on", || target.count("wf.workflows") > before);

    let standby = cluster.standby();
    let mut there = standby.connect("source", "postgres");
    assert_eq!(
        there
            .fails("SELECT wf_schedule('x', '1 seconds', sql => 'SELECT 1')")
            .sqlstate,
        "25006"
    );
    cluster.stop(Stop::Fast);
    std::thread::sleep(Duration::from_secs(2));
    let before = there.count("wf.workflows");
    let latest: String = there.one("SELECT max(at)::text FROM ticks");
    throughout(Duration::from_secs(2), "the standby rests", || {
        there.count("wf.workflows") == before
    });
    there.run("SELECT pg_promote()");
    eventually(SOON, "it goes on", || {
        there.count(&format!("ticks WHERE at > '{latest}'")) > 1
    });
    assert_eq!(
        there.count("ticks"),
        there.one::<i64>("SELECT count(DISTINCT at) FROM ticks")
    );
}

#[test]
fn ten_thousand_schedules_cost_nothing_while_none_is_due() {
    let cluster = Cluster::with(&["autovacuum = off"]);
    let mut db = cluster.database("quiet");
    db.run(TICKS);
    for batch in 0..20 {
        db.run(&format!(
            "SELECT count(wf_schedule('s' || i, '0 0 1 1 *', 'tick', '{{\"name\": \"s\"}}', time_key => 'at'))
             FROM generate_series({batch} * 500 + 1, {batch} * 500 + 500) i"
        ));
    }
    // They are there, and one among them fires.
    db.run(&schedule("soon", "1 seconds", ""));
    eventually(SOON, "it fires", || db.count("ticks") > 0);
    db.run("SELECT wf_unschedule('soon')");
    // One may be left for a moment of a look that found its schedule locked.
    eventually(SOON, "a timer each", || db.count("wf_internal.timers") == 10_000);
    drop(db);
    let mut admin = cluster.admin();
    let mut transactions = || -> i64 {
        admin.one("SELECT (xact_commit + xact_rollback)::int8 FROM pg_stat_database WHERE datname = 'quiet'")
    };
    let (mut last, mut since) = (transactions(), Instant::now());
    eventually(SOON, "no transaction runs any more", || {
        let now = transactions();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_secs(4)
    });
}

#[test]
fn the_start_of_the_server_is_a_time_once() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(TICKS);
    db.run(&schedule("start", "@reboot", ", overlap => 'allow'"));
    db.run(&schedule("paused", "@reboot", ", paused => true"));
    db.run(&schedule("other", "1 seconds", ""));
    // The scheduler alone is no server.
    db.run("SELECT pg_terminate_backend(pid) FROM wf.workers WHERE kind = 'scheduler'");
    let fired: i64 = state(&mut db, "other", "fired");
    eventually(SOON, "it is back", || {
        state::<i64>(&mut db, "other", "fired") > fired + 2
    });
    assert_eq!(db.count("ticks WHERE name <> 'other'"), 0);
    for starts in 1..3 {
        cluster.restart();
        db = cluster.admin();
        eventually(SOON, "it fires", || db.count("ticks WHERE name = 'start'") == starts);
        assert!(state::<bool>(
            &mut db,
            "start",
            "last_tick = pg_postmaster_start_time() AND status = 'active'"
        ));
    }
    assert_eq!(db.count("ticks WHERE name = 'paused'"), 0);
}

#[test]
fn a_clock_that_was_set_back_repeats_nothing() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(TICKS);
    db.run(&schedule("s", "1 seconds", ""));
    eventually(SOON, "it fires", || db.count("ticks") > 1);
    // As if the clock had been set back by an hour behind the last time: the next one is kept, and is an hour away.
    db.run(
        "UPDATE wf_internal.schedules SET next_at = next_at + interval '1 hour', after_at = after_at + interval '1 hour';
         SELECT wf_alter_schedule('s')",
    );
    let before = db.count("ticks");
    throughout(Duration::from_secs(3), "it waits", || db.count("ticks") <= before + 1);
    assert!(state::<bool>(&mut db, "s", "next_fire > now() + interval '59 minutes'"));
    assert_eq!(db.count("ticks"), db.one::<i64>("SELECT count(DISTINCT at) FROM ticks"));
}

#[test]
fn a_schedule_that_somebody_is_changing_holds_up_nobody() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(TICKS);
    db.run(&schedule("held", "1 seconds", ""));
    db.run(&schedule("free", "1 seconds", ""));
    eventually(SOON, "both fire", || db.count("wf.schedules WHERE fired > 0") == 2);
    let mut other = cluster.admin();
    other.run("BEGIN; SELECT wf_alter_schedule('held', overlap => 'allow')");
    let fired: i64 = state(&mut db, "held", "fired");
    let free: i64 = state(&mut db, "free", "fired");
    eventually(SOON, "the other goes on", || {
        state::<i64>(&mut db, "free", "fired") > free + 1
    });
    assert_eq!(state::<i64>(&mut db, "held", "fired"), fired);
    other.run("ROLLBACK");
    eventually(SOON, "it goes on, though nothing was changed", || {
        state::<i64>(&mut db, "held", "fired") > fired + 1
    });
}
