//! Workflows started by changes of rows: with the change or not at all, as who has asked for it, and in dumps.

use pg_workflow_server_tests::*;

const FLOW: &str = "CREATE TABLE orders (id int PRIMARY KEY, item text);
    CREATE TABLE shipped (id int);
    CREATE FUNCTION ship(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        RETURN wf_step('ship', 'INSERT INTO shipped VALUES (($1->>''id'')::int) RETURNING id', input);
    END $$";

fn prepare(db: &mut Client) {
    db.run(FLOW);
    db.run("SELECT wf_on('orders', 'insert', 'ship', id => '''order-'' || NEW.id')");
}

#[test]
fn a_workflow_starts_if_and_only_if_the_change_commits() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    prepare(&mut db);
    let mut open = cluster.admin();
    open.run("BEGIN; INSERT INTO orders VALUES (1, 'open')");
    db.run("INSERT INTO orders VALUES (2, 'committed')");
    db.run("BEGIN; INSERT INTO orders VALUES (3, 'rolled back'); ROLLBACK");
    db.run("BEGIN; INSERT INTO orders VALUES (4, 'kept'); SAVEPOINT s; INSERT INTO orders VALUES (5, 'undone'); ROLLBACK TO s; COMMIT");
    assert_eq!(db.result("order-2"), json!([2]));
    assert_eq!(db.result("order-4"), json!([4]));
    cluster.kill9();
    cluster.start();
    let mut db = cluster.admin();
    db.run("INSERT INTO orders VALUES (6, 'after the crash')");
    assert_eq!(db.result("order-6"), json!([6]));
    assert_eq!(
        db.all::<String>("SELECT id FROM wf.workflows ORDER BY id"),
        ["order-2", "order-4", "order-6"]
    );
    assert_eq!(db.all::<i32>("SELECT id FROM shipped ORDER BY id"), [2, 4, 6]);
}

#[test]
fn many_rows_of_many_sessions_start_one_workflow_each() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    prepare(&mut db);
    std::thread::scope(|scope| {
        for session in 0..6 {
            let mut client = cluster.admin();
            scope.spawn(move || {
                for batch in 0..5 {
                    let first = session * 1000 + batch * 10;
                    client.run(&format!(
                        "INSERT INTO orders SELECT i, 'many' FROM generate_series({first}, {first} + 9) i"
                    ));
                }
            });
        }
    });
    eventually(SOON, "all have run", || {
        db.count("wf.workflows WHERE status = 'completed'") == 300
    });
    assert_eq!(db.count("(SELECT DISTINCT id FROM shipped) s"), 300);
    assert_eq!(db.count("shipped"), 300);
}

/// What a stranger plants in a schema of the caller's `search_path` is not found by the expressions, nor by the call.
#[test]
fn who_changes_a_row_does_not_get_code_run_as_another() {
    let cluster = Cluster::new();
    let mut admin = cluster.admin();
    admin.run("CREATE ROLE dora LOGIN; CREATE ROLE eve LOGIN; GRANT CREATE ON SCHEMA public TO eve; CREATE SCHEMA dora AUTHORIZATION dora");
    admin.run("CREATE TABLE public.log (who text); GRANT INSERT ON log TO PUBLIC");
    let mut dora = cluster.connect("postgres", "dora");
    dora.run(
        "SET search_path = public, dora;
         CREATE TABLE dora.inbox (id int, body jsonb);
         GRANT USAGE ON SCHEMA dora TO eve;
         GRANT INSERT ON dora.inbox TO eve;
         CREATE FUNCTION dora.take(input jsonb) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN current_user; END $$;
         REVOKE ALL ON FUNCTION dora.take(jsonb) FROM PUBLIC;
         SELECT wf_on('dora.inbox', 'insert', 'dora.take', id => 'concat(''inbox-'', NEW.id)')",
    );
    let mut eve = cluster.connect("postgres", "eve");
    eve.run(
        "CREATE FUNCTION public.to_jsonb(dora.inbox) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.log VALUES (current_user); RETURN '1'; END $$;
         CREATE FUNCTION public.concat(text, int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.log VALUES (current_user); RETURN '1'; END $$;
         CREATE FUNCTION public.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.log VALUES (current_user); RETURN '1'; END $$;
         CREATE FUNCTION public.wf_start(text, jsonb, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.log VALUES (current_user); RETURN '1'; END $$;
         SET search_path = public, pg_catalog, pg_temp",
    );
    let attempt = eve.attempt("INSERT INTO dora.inbox VALUES (1, '{}')");
    assert_eq!(
        admin.all::<String>("SELECT who FROM log"),
        [] as [&str; 0],
        "{attempt:?}"
    );
    assert_eq!(attempt, Ok(()));
    assert_eq!(dora.result("inbox-1"), json!("dora"));
    // Nor does she stay Dora, or see anything of the run.
    assert_eq!(eve.one::<String>("SELECT current_user::text"), "eve");
    assert_eq!(eve.count("wf.workflows"), 0);
    assert_eq!(eve.fails("SELECT dora.inbox_wf_take()").sqlstate, "42501");
}

#[test]
fn a_dump_has_the_triggers() {
    let cluster = Cluster::new();
    let mut source = cluster.database("source");
    prepare(&mut source);
    source.run("INSERT INTO orders VALUES (1, 'before the dump')");
    assert_eq!(source.result("order-1"), json!([1]));
    let triggers = "SELECT to_jsonb(t) FROM wf.triggers t";
    let before: Value = source.one(triggers);

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
    target.run("SELECT wf_adopt()");
    assert_eq!(target.one::<Value>(triggers), before);
    // Restoring the rows has started nothing; a new one does.
    assert_eq!(target.count("wf.workflows"), 1);
    target.run("INSERT INTO orders VALUES (2, 'in the copy')");
    assert_eq!(target.result("order-2"), json!([2]));
    assert_eq!(target.fails("DROP EXTENSION pg_workflow").sqlstate, "2BP01");
    assert!(target.one::<bool>("SELECT wf_off('orders', 'wf_ship')"));
    target.run("DROP EXTENSION pg_workflow");
    target.run("INSERT INTO orders VALUES (3, 'without')");
}

/// A transaction that is read-only, and a workflow's own code, cannot set up triggers; a step can.
#[test]
fn it_is_refused_where_nothing_can_be_written() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(FLOW);
    let failure = db.fails("BEGIN READ ONLY; SELECT wf_on('orders', 'insert', 'ship')");
    assert_eq!(failure.sqlstate, "25006");
    db.run("ROLLBACK");
    db.run(
        "CREATE FUNCTION sets_up(input jsonb) RETURNS text LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM wf_on('orders', 'insert', 'ship');
             RETURN 'done';
         EXCEPTION WHEN object_not_in_prerequisite_state THEN
             RETURN wf_step('in a step', $q$ SELECT wf_on('orders', 'insert', 'ship', id => 'NEW.id') $q$)->>0;
         END $$",
    );
    db.run("SELECT wf_start('sets_up', id => 'sets up')");
    assert_eq!(db.result("sets up"), json!("wf_ship"));
    db.run("INSERT INTO orders VALUES (7, 'x')");
    assert_eq!(db.result("7"), json!([7]));
    assert_eq!(
        db.fails("BEGIN READ ONLY; SELECT wf_off('orders', 'wf_ship')").sqlstate,
        "25006"
    );
}
