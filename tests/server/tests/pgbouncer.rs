//! Clients that come through PgBouncer in transaction mode: each transaction may be in another session of the server.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use pg_workflow_server_tests::postgres::SimpleQueryMessage;
use pg_workflow_server_tests::*;

const FLOW: &str = "
    CREATE TABLE effects (instance text, step text);
    CREATE FUNCTION flow(i text) RETURNS jsonb LANGUAGE plpgsql AS $$
    DECLARE told jsonb;
    BEGIN
        PERFORM wf_step('one', 'INSERT INTO effects SELECT $1#>>''{}'', ''one''', to_jsonb(i));
        told := wf_wait_signal('go');
        PERFORM wf_set('told', told);
        RETURN wf_task('job', 'jobs', told);
    END $$";

/// PgBouncer in front of a cluster, with fewer connections to the server than clients have to it.
struct Pool {
    process: Child,
    socket: std::path::PathBuf,
}

impl Pool {
    /// `None` where there is no PgBouncer.
    fn before(cluster: &Cluster) -> Option<Self> {
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let found = path
            .split(':')
            .map(|dir| Path::new(dir).join("pgbouncer"))
            .find(|file| file.exists());
        let Some(found) = found else {
            eprintln!("not tested: the system has no pgbouncer");
            return None;
        };
        let config = cluster.socket().join("pgbouncer.ini");
        std::fs::write(
            &config,
            format!(
                "[databases]\npostgres = host={dir} port=5432 user=postgres\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\n\
                 unix_socket_dir = {dir}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n\
                 ignore_startup_parameters = options\n",
                dir = cluster.socket().display()
            ),
        )
        .expect("written");
        let process = program(found.to_str().expect("a path"))
            .arg("-q")
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let pool = Self {
            process,
            socket: cluster.socket().to_owned(),
        };
        eventually(SOON, "PgBouncer answers", || pool.try_connect().is_ok());
        Some(pool)
    }

    fn try_connect(&self) -> Result<Client, postgres::Error> {
        Client::configure()
            .host_path(&self.socket)
            .port(6432)
            .dbname("postgres")
            .user("postgres")
            .connect(NoTls)
    }

    fn connect(&self) -> Client {
        self.try_connect().expect("a connection to PgBouncer")
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        kill(self.process.id());
        let _ = self.process.wait();
    }
}

/// Rows as text. By the simple protocol: statements that are prepared stay in the session that has prepared them.
fn rows(client: &mut Client, sql: &str) -> Vec<Vec<String>> {
    let messages = client
        .simple_query(sql)
        .unwrap_or_else(|error| panic!("{sql}\n{:?}", failure_of(&error)));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| {
        (0..row.len())
            .map(|i| row.get(i).unwrap_or_default().to_owned())
            .collect()
    })
    .collect()
}

fn value(client: &mut Client, sql: &str) -> String {
    rows(client, sql).remove(0).remove(0)
}

#[test]
fn every_call_of_a_client_works_in_whatever_session() {
    let cluster = Cluster::new();
    let Some(pool) = Pool::before(&cluster) else {
        return;
    };
    let mut db = cluster.admin();
    db.run(FLOW);
    let mut clients: Vec<Client> = (0..5).map(|_| pool.connect()).collect();

    // Starts by all, in transactions that overlap and so are in two sessions; what is rolled back is not there.
    for n in 0..20 {
        let (one, other) = clients.split_at_mut(1);
        let (one, other) = (&mut one[0], &mut other[n % 4]);
        one.run("BEGIN");
        assert_eq!(
            value(
                one,
                &format!("SELECT wf_start('flow', '{{\"i\": \"{n}\"}}', id => '{n}')")
            ),
            n.to_string()
        );
        other.run(&format!(
            "BEGIN; SELECT wf_start('flow', '{{\"i\": \"x\"}}', id => 'x{n}'); ROLLBACK"
        ));
        one.run("COMMIT");
    }
    // Signals by others than those who have started, the same one twice.
    for n in 0..20 {
        let signal = format!("SELECT wf_signal('{n}', 'go', '{n}', key => 'k')");
        assert_eq!(value(&mut clients[n % 5], &signal), "t");
        assert_eq!(value(&mut clients[(n + 1) % 5], &signal), "f");
    }
    // A client that waits has a session of the pool; the others share what is left.
    let mut waiting = pool.connect();
    std::thread::scope(|scope| {
        let result = scope.spawn(|| value(&mut waiting, "SELECT wf_result('19', wait => '50 s')"));
        eventually(SOON, "it waits", || {
            db.count("pg_stat_activity WHERE query LIKE 'SELECT wf_result(''19''%' AND state = 'active'") == 1
        });
        // Claimed by one, reported by another.
        let mut done = 0;
        eventually(Duration::from_secs(60), "all tasks are done", || {
            let claimed = rows(
                &mut clients[done % 5],
                "SELECT task, input FROM wf_poll('jobs', max => 3)",
            );
            for task in &claimed {
                done += 1;
                let client = &mut clients[done % 5];
                assert_eq!(value(client, &format!("SELECT wf_heartbeat('{}', '1')", task[0])), "t");
                assert_eq!(
                    value(client, &format!("SELECT wf_complete('{}', '{}')", task[0], task[1])),
                    "t"
                );
            }
            done == 20
        });
        assert_eq!(result.join().unwrap(), "19");
    });
    for n in 0..20 {
        let client = &mut clients[n % 5];
        assert_eq!(
            value(client, &format!("SELECT wf_result('{n}', wait => '50 s')")),
            n.to_string()
        );
        assert_eq!(value(client, &format!("SELECT wf_get('{n}', 'told')")), n.to_string());
    }
    assert_eq!(
        value(
            &mut clients[0],
            "SELECT count(*) FROM wf.workflows WHERE status = 'completed'"
        ),
        "20"
    );
    assert_eq!(db.count("effects"), 20);
    let sessions = "pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    assert!(db.count(sessions) <= 2, "they did share");

    // Cancelled in one session, seen in another; an error leaves the session usable for the next.
    clients[0].run("SELECT wf_start('flow', '{\"i\": \"c\"}', id => 'c')");
    assert_eq!(value(&mut clients[1], "SELECT wf_cancel('c', 'enough')"), "t");
    let failure = clients[2].fails("SELECT wf_result('c', wait => '50 s')");
    assert_eq!(failure.sqlstate, "WF002");
    assert_eq!(value(&mut clients[3], "SELECT wf_status('c')"), "cancelled");
    assert_eq!(clients[4].fails("SELECT wf_start('nowhere')").sqlstate, "42883");
    assert_eq!(value(&mut clients[4], "SELECT wf_status('1')"), "completed");
}
