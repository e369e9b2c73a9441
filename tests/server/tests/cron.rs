//! pg_cron's interface, beside pg_cron itself where it is installed.

use pg_workflow_server_tests::*;

fn with_cron() -> (Cluster, Client) {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run("CREATE EXTENSION pg_workflow_cron");
    (cluster, db)
}

fn unescaped(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n").replace('\'', "''")
}

#[test]
fn schedules_are_accepted_and_refused_as_by_pg_cron() {
    let (_cluster, mut db) = with_cron();
    let table = include_str!("../../../crates/core/testdata/pg_cron_schedules.tsv");
    for line in table.lines().skip(1) {
        let (text, expected) = line.rsplit_once('\t').unwrap();
        let text = unescaped(text);
        let made = db.attempt(&format!("SELECT cron.schedule('{text}', 'SELECT 1')"));
        match made {
            Ok(()) => assert!(expected.starts_with("ACCEPT"), "{text:?} is accepted"),
            Err(failure) => {
                assert_eq!(expected, "reject", "{text:?}: {failure:?}");
                assert_eq!(failure.sqlstate, "22023");
                assert_eq!(
                    failure.message,
                    format!("invalid schedule: {}", text.replace("''", "'"))
                );
                assert!(failure.hint.starts_with("Use cron format"), "{}", failure.hint);
            }
        }
    }
    let accepted = table.lines().filter(|line| line.contains("\tACCEPT")).count();
    assert_eq!(db.count("cron.job"), accepted as i64);
}

#[test]
fn a_job_runs_at_its_times_one_run_at_a_time_and_without_piling_up() {
    let (_cluster, mut db) = with_cron();
    db.run(
        "CREATE TABLE runs (began timestamptz DEFAULT clock_timestamp(), ended timestamptz);
         CREATE PROCEDURE slow() LANGUAGE plpgsql AS $$
         DECLARE
             mine timestamptz;
         BEGIN
             INSERT INTO runs DEFAULT VALUES RETURNING began INTO mine;
             COMMIT;
             PERFORM pg_sleep(2.5);
             UPDATE runs SET ended = clock_timestamp() WHERE began = mine;
         END $$;
         SELECT cron.schedule('slow', '1 second', 'CALL slow()')",
    );
    eventually(SOON, "two runs have ended", || {
        db.count("runs WHERE ended IS NOT NULL") >= 2
    });
    eventually(SOON, "the next one runs, in a process that can be seen", || {
        db.one::<Option<i32>>("SELECT max(job_pid) FROM cron.job_run_details WHERE status = 'running'")
            .is_some()
    });
    db.run("SELECT cron.unschedule('slow')");
    eventually(SOON, "the last run has ended", || {
        db.count("cron.job_run_details WHERE end_time IS NULL") == 0
    });
    let overlapping = "runs a JOIN runs b ON a.began < b.began AND (a.ended IS NULL OR a.ended > b.began)";
    assert_eq!(db.count(overlapping), 0);
    // One may have been waiting; the times that came meanwhile are gone.
    assert_eq!(db.count("cron.job_run_details WHERE status <> 'succeeded'"), 0);
    assert_eq!(db.count("cron.job_run_details"), db.count("runs"));
}

#[test]
fn two_who_make_a_job_of_one_name_at_once_have_one_job() {
    let (cluster, mut db) = with_cron();
    let mut other = cluster.admin();
    db.run("BEGIN");
    let first: i64 = db.one("SELECT cron.schedule('both', '0 1 * * *', 'SELECT 1')");
    let waiting = std::thread::spawn(move || other.one::<i64>("SELECT cron.schedule('both', '0 2 * * *', 'SELECT 2')"));
    let mut eye = cluster.admin();
    eventually(SOON, "the other one waits", || {
        eye.count("pg_stat_activity WHERE wait_event_type = 'Lock'") == 1
    });
    db.run("COMMIT");
    assert_eq!(waiting.join().unwrap(), first);
    let job: String = db.one("SELECT string_agg(jobid || ' ' || schedule, ', ') FROM cron.job");
    assert_eq!(job, format!("{first} 0 2 * * *"));
}

#[test]
fn a_job_that_a_crash_takes_along_is_not_run_again_before_its_time() {
    let (cluster, mut db) = with_cron();
    db.run("CREATE TABLE begun (at timestamptz DEFAULT now())");
    db.run("SELECT cron.schedule('long', '0 0 1 1 *', 'CALL work()')");
    db.run(
        "CREATE PROCEDURE work() LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO begun DEFAULT VALUES;
             COMMIT;
             PERFORM pg_sleep(600);
         END $$;
         SELECT wf_schedule_run('cron:long')",
    );
    eventually(SOON, "it runs", || db.count("begun") == 1);
    cluster.kill9();
    cluster.start();
    let mut db = cluster.admin();
    eventually(SOON, "it counts as failed", || {
        db.count("cron.job_run_details WHERE status = 'failed'") == 1
    });
    assert_eq!((db.count("begun"), db.count("cron.job_run_details")), (1, 1));
}

#[test]
fn a_job_runs_when_the_server_starts() {
    let (cluster, mut db) = with_cron();
    db.run("CREATE TABLE starts (at timestamptz DEFAULT now())");
    db.run("SELECT cron.schedule('start', '@reboot', 'INSERT INTO starts DEFAULT VALUES')");
    for starts in 1..3 {
        cluster.restart();
        db = cluster.admin();
        eventually(SOON, "it has run", || {
            db.count("cron.job_run_details WHERE status = 'succeeded'") == starts
        });
    }
    assert_eq!(db.count("starts"), 2);
}

#[test]
fn jobs_are_in_a_dump_and_keep_their_numbers() {
    let (cluster, mut db) = with_cron();
    let id: i64 = db.one("SELECT cron.schedule('kept', '0 1 * * *', 'SELECT 1')");
    let dump = cluster.socket().join("dump.sql");
    check(
        program("pg_dump")
            .args(["-U", "postgres", "-d", "postgres", "-h"])
            .arg(cluster.socket())
            .arg("-f")
            .arg(&dump),
    );
    db.run("CREATE DATABASE copy");
    check(
        program("psql")
            .args(["-X", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "copy", "-h"])
            .arg(cluster.socket())
            .arg("-f")
            .arg(&dump),
    );
    let mut copy = cluster.connect("copy", "postgres");
    let kept: String = copy.one("SELECT jobid || ' ' || jobname || ' ' || database FROM cron.job");
    assert_eq!(kept, format!("{id} kept copy"));
    assert!(copy.one::<i64>("SELECT cron.schedule('0 1 * * *', 'SELECT 1')") > id);
}

/// A server with pg_cron itself, if that is installed.
fn with_pg_cron() -> Option<(Cluster, Client)> {
    let settings = [
        "shared_preload_libraries = 'pg_workflow, pg_cron'",
        "cron.use_background_workers = on",
        "cron.timezone = 'Europe/Berlin'",
    ];
    if Cluster::bare(&[]).lacks("pg_cron") {
        return None;
    }
    let cluster = Cluster::with(&settings);
    let mut db = cluster.admin();
    db.run("CREATE EXTENSION pg_cron");
    Some((cluster, db))
}

#[test]
fn jobs_of_pg_cron_are_taken_over() {
    let Some((_cluster, mut db)) = with_pg_cron() else {
        return;
    };
    db.run("CREATE DATABASE elsewhere");
    db.run(
        "CREATE ROLE ann LOGIN; CREATE ROLE nobody NOLOGIN;
         CREATE TABLE done (who text DEFAULT current_user);
         GRANT INSERT ON done TO ann;
         SELECT cron.schedule('first', '0 1 * * *', 'VACUUM');
         SELECT cron.schedule('*/5 * * * *', 'SELECT 2');
         SELECT cron.schedule('sleeps', '0 3 * * *', 'SELECT 3');
         UPDATE cron.job SET active = false WHERE jobname = 'sleeps';
         SELECT cron.schedule_in_database('hers', '0 0 1 1 *', 'INSERT INTO done DEFAULT VALUES', 'postgres', 'ann');
         SELECT cron.schedule_in_database('there', '0 4 * * *', 'SELECT 4', 'elsewhere');
         INSERT INTO cron.job (schedule, command, nodeport, username, jobname)
         VALUES ('0 5 * * *', 'SELECT 5', 5432, 'nobody', 'no login')",
    );
    // Both in one schema: it refuses, and says what to do.
    let refusal = db.fails("CREATE EXTENSION pg_workflow_cron");
    assert_eq!(refusal.sqlstate, "42710");
    assert!(refusal.hint.contains("wf_import_pg_cron"), "{}", refusal.hint);

    let taken = |db: &mut Client| {
        db.all::<String>("SELECT format('%s %s %s', jobid, taken, detail) FROM wf_import_pg_cron() ORDER BY jobid")
    };
    assert_eq!(
        taken(&mut db),
        [
            "1 t It is not active in pg_cron any more.",
            "2 t It is not active in pg_cron any more.",
            "3 t It is not active, as before.",
            "4 t It is not active in pg_cron any more.",
            "5 f It runs in database \"elsewhere\": schedule it there.",
            "6 f role \"nobody\" cannot own workflow instances",
        ]
    );
    assert_eq!(
        db.all::<i64>("SELECT jobid FROM cron.job WHERE active ORDER BY jobid"),
        [5, 6]
    );
    // Once more takes nothing twice.
    let again = taken(&mut db);
    assert!(
        again[..4]
            .iter()
            .all(|line| line.ends_with("It has been taken over before.")),
        "{again:?}"
    );

    db.run("DROP EXTENSION pg_cron; CREATE EXTENSION pg_workflow_cron");
    let jobs =
        "SELECT format('%s %s %s %s %s', jobid, jobname, schedule, username, active) FROM cron.job ORDER BY jobid";
    assert_eq!(
        db.all::<String>(jobs),
        [
            "1 first 0 1 * * * postgres t",
            "2  */5 * * * * postgres t",
            "3 sleeps 0 3 * * * postgres f",
            "4 hers 0 0 1 1 * ann t",
        ]
    );
    assert_eq!(db.count("wf.schedules WHERE time_zone = 'Europe/Berlin'"), 4);
    db.run("SELECT wf_schedule_run('cron:hers')");
    eventually(SOON, "it has run as its user", || {
        db.count("done WHERE who = 'ann'") == 1
    });
    assert_eq!(db.one::<i64>("SELECT cron.schedule('* * * * *', 'SELECT 1')"), 5);
}

#[test]
fn pg_cron_itself_starts_workflows() {
    let Some((_cluster, mut db)) = with_pg_cron() else {
        return;
    };
    db.run(
        "CREATE TABLE done (at timestamptz DEFAULT now());
         CREATE FUNCTION flow() RETURNS jsonb LANGUAGE plpgsql AS $$
         BEGIN RETURN wf_step('do', 'INSERT INTO done DEFAULT VALUES'); END $$;
         SELECT cron.schedule('flow', '* * * * *', $$SELECT wf_start('flow')$$)",
    );
    eventually(std::time::Duration::from_secs(90), "the minute has come", || {
        db.count("done") > 0
    });
}
