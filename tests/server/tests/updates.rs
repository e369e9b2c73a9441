//! Updates of the schema: what a database that was made by a release becomes, and what happens to its instances.

use std::time::Duration;

use pg_workflow_server_tests::*;

/// Everything that an extension has put into a database, a line a fact, without oids.
const CATALOGUE: &str = r#"
    WITH extension AS (SELECT * FROM pg_extension WHERE extname IN ('pg_workflow', 'pg_workflow_cron')),
         member AS (SELECT d.classid, d.objid, d.objsubid FROM pg_depend d JOIN extension e ON d.refobjid = e.oid
                    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'),
         relation AS (
             -- Indexes, and sequences of identity columns, are no members themselves.
             SELECT c.* FROM pg_class c WHERE c.oid IN (SELECT objid FROM member WHERE classid = 'pg_class'::regclass)
                                           OR c.relnamespace::regnamespace::text IN ('wf', 'wf_internal', 'cron')),
         acl AS (SELECT 'pg_class'::regclass AS class, oid, relacl AS acl FROM relation
                 UNION ALL SELECT 'pg_proc'::regclass, oid, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
                 UNION ALL SELECT 'pg_namespace'::regclass, oid, nspacl FROM pg_namespace)
    SELECT format('extension %s %s', e.extname, e.extversion) FROM extension e
    UNION ALL SELECT format('member %s', pg_describe_object(classid, objid, objsubid)) FROM member
    UNION ALL SELECT format('dumped %s %L', c::regclass, e.extcondition[n]) FROM extension e, unnest(e.extconfig) WITH ORDINALITY AS d(c, n)
    UNION ALL SELECT format('relation %s %s %s %s %s', r.oid::regclass, r.relkind, r.relpersistence,
                            (SELECT array_agg(o ORDER BY o) FROM unnest(r.reloptions) o), r.relrowsecurity) FROM relation r
    UNION ALL SELECT format('column %s %s %s %s %s %s %s %s %s %s', a.attrelid::regclass, row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum),
                            a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attstorage,
                            a.attcollation::regcollation, pg_get_expr(f.adbin, f.adrelid))
              FROM pg_attribute a JOIN relation r ON r.oid = a.attrelid LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
              WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(c.oid)) FROM pg_constraint c
              WHERE conrelid IN (SELECT oid FROM relation)
    UNION ALL SELECT format('index %s %s', pg_get_indexdef(oid), reloptions) FROM relation WHERE relkind = 'i'
    UNION ALL SELECT format('sequence %s %s', s.seqrelid::regclass, to_jsonb(s) - 'seqrelid') FROM pg_sequence s WHERE s.seqrelid IN (SELECT oid FROM relation)
    UNION ALL SELECT format('view %s %s', oid::regclass, pg_get_viewdef(oid)) FROM relation WHERE relkind = 'v'
    UNION ALL SELECT format('trigger %s %s %s', tgrelid::regclass, tgenabled, pg_get_triggerdef(t.oid)) FROM pg_trigger t
              WHERE tgrelid IN (SELECT oid FROM relation)
    UNION ALL SELECT format('policy %s', to_jsonb(p)) FROM pg_policies p WHERE p.schemaname IN ('wf', 'wf_internal', 'cron')
    UNION ALL SELECT format('rule %s %s', ev_class::regclass, pg_get_ruledef(r.oid)) FROM pg_rewrite r WHERE ev_class IN (SELECT oid FROM relation)
    UNION ALL SELECT format('function %s %s', p.oid::regprocedure, pg_get_functiondef(p.oid)) FROM pg_proc p JOIN member m ON m.objid = p.oid AND m.classid = 'pg_proc'::regclass
              WHERE p.prokind <> 'a'
    UNION ALL SELECT format('type %s %s %s', t.oid::regtype, t.typtype, (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid))
              FROM pg_type t JOIN member m ON m.objid = t.oid AND m.classid = 'pg_type'::regclass
    UNION ALL SELECT format('comment %s %L', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description) FROM pg_description d
              WHERE (d.classoid, d.objoid) IN (SELECT classid, objid FROM member)
    UNION ALL SELECT format('acl %s %s', pg_describe_object(a.class, a.oid, 0), (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(a.acl) x)) FROM acl a
              WHERE (a.class, a.oid) IN (SELECT classid, objid FROM member)
    UNION ALL SELECT format('acl of a column %s %s %s', attrelid::regclass, attname, attacl) FROM pg_attribute
              WHERE attrelid IN (SELECT oid FROM relation) AND attacl IS NOT NULL
    -- What a dump takes for granted, and does not repeat.
    UNION ALL SELECT format('initial acl %s %s', pg_describe_object(i.classoid, i.objoid, i.objsubid), (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(i.initprivs) x))
              FROM pg_init_privs i WHERE (i.classoid, i.objoid) IN (SELECT classid, objid FROM member)
    ORDER BY 1"#;

fn catalogue(db: &mut Client) -> Vec<String> {
    // As it reads in every session.
    db.run("SET search_path = pg_catalog");
    db.all(CATALOGUE)
}

/// Fails with the lines that only one of the two has.
fn assert_same(fresh: &[String], updated: &[String]) {
    let only = |of: &[String], other: &[String]| -> String {
        let lines: Vec<&str> = of
            .iter()
            .filter(|line| !other.contains(line))
            .map(String::as_str)
            .collect();
        lines.join("\n")
    };
    let (missing, extra) = (only(fresh, updated), only(updated, fresh));
    assert!(
        missing.is_empty() && extra.is_empty(),
        "--- a new installation has\n{missing}\n--- an update leaves\n{extra}"
    );
    assert_eq!(fresh.len(), updated.len());
}

/// Versions that can be installed and are older than the present one.
fn releases(db: &mut Client) -> Vec<String> {
    db.all(
        "SELECT v.version FROM pg_available_extension_versions v JOIN pg_available_extensions e USING (name)
         WHERE v.name = 'pg_workflow' AND v.version <> e.default_version ORDER BY 1",
    )
}

fn of_release(cluster: &Cluster, database: &str, release: &str) -> Client {
    cluster.admin().run(&format!("CREATE DATABASE {database}"));
    let mut db = cluster.connect(database, "postgres");
    db.run(&format!("CREATE EXTENSION pg_workflow VERSION '{release}'"));
    db
}

#[test]
fn an_update_leaves_what_a_new_installation_has() {
    let cluster = Cluster::bare(&[]);
    let mut db = cluster.admin();
    db.run("CREATE EXTENSION pg_workflow; CREATE EXTENSION pg_workflow_cron");
    let fresh = catalogue(&mut db);
    assert!(fresh.len() > 1000, "{}", fresh.len());
    let releases = releases(&mut db);
    assert!(releases.contains(&"0.1.0".to_owned()), "{releases:?}");
    for (number, release) in releases.iter().enumerate() {
        let mut db = of_release(&cluster, &format!("release{number}"), release);
        db.run(&format!("CREATE EXTENSION pg_workflow_cron VERSION '{release}'"));
        // What somebody has built on the views does not stand in the way.
        db.run("CREATE VIEW mine AS SELECT * FROM wf.workflows; CREATE VIEW jobs AS SELECT * FROM cron.job");
        db.run("REVOKE SELECT ON wf.signals FROM PUBLIC; CREATE ROLE reader; GRANT SELECT ON wf.signals TO reader");
        db.run("ALTER EXTENSION pg_workflow UPDATE; ALTER EXTENSION pg_workflow_cron UPDATE");
        // Nor is what an operator has granted or revoked undone.
        assert!(db.one::<bool>("SELECT has_table_privilege('reader', 'wf.signals', 'SELECT') AND NOT has_table_privilege('public', 'wf.signals', 'SELECT')"));
        db.run("GRANT SELECT ON wf.signals TO PUBLIC; REVOKE SELECT ON wf.signals FROM reader; DROP ROLE reader; DROP VIEW mine, jobs");
        assert_same(&fresh, &catalogue(&mut db));
    }
}

#[test]
fn instances_in_flight_go_on_after_an_update_and_not_before() {
    let cluster = Cluster::bare(&["shared_preload_libraries = 'pg_workflow'"]);
    cluster.admin().run(zoo::ROLES);
    let mut source = cluster.database("source");
    let token = zoo::fill(&mut source);
    let idles = "pg_workflow runs nothing in database";
    assert_eq!(cluster.logged(idles), 0);
    let mut db = of_release(&cluster, "old", "0.1.0");
    eventually(SOON, "it says why it idles", || cluster.logged(idles) == 1);
    assert_eq!(
        cluster.logged("its schema is of version 0.1.0, the library of version"),
        1
    );
    zoo::carry_over(&cluster, &mut source, &mut db);
    zoo::make_due(&mut db);

    // Nothing is run, and nothing is written by what does not know these tables; looking is possible.
    for call in [
        "SELECT wf_start('sleeps')",
        "SELECT wf_signal('signal', 'go')",
        "SELECT wf_status('signal')",
        "SELECT wf_poll('waiting')",
        "SELECT wf_complete('x')",
        "CALL wf_run_pending()",
        "INSERT INTO orders VALUES ('refused')",
    ] {
        let failure = db.fails(call);
        assert_eq!(failure.sqlstate, "55000", "{call}: {failure:?}");
        assert!(
            failure.message.contains("of version 0.1.0, its library of version"),
            "{failure:?}"
        );
        assert!(
            failure.hint.contains("ALTER EXTENSION pg_workflow UPDATE"),
            "{failure:?}"
        );
    }
    let states = zoo::states(&mut db);
    assert!(states.len() > 20, "{}", states.len());
    assert!(db.count("wf.definitions") > 10);
    assert_eq!(
        db.all::<String>(
            "SELECT item FROM wf_health() WHERE NOT ok AND hint LIKE '%ALTER EXTENSION pg_workflow UPDATE%'"
        ),
        ["versions"]
    );
    // What wakes a scheduler does not change its mind, nor has it say so again.
    db.run("SELECT wf_internal.announce()");
    throughout(Duration::from_secs(1), "nothing is run", || {
        db.count("wf.workers WHERE kind <> 'scheduler'") == 0 && cluster.logged(idles) == 1
    });
    assert_eq!(zoo::states(&mut db), states);

    // It waits for who looks at what it changes, or gives up and has changed nothing.
    let mut reader = cluster.connect("old", "postgres");
    reader.run("BEGIN; SELECT count(*) FROM wf.workflows, wf.steps, wf.tasks");
    db.run("SET lock_timeout = '300 ms'");
    if let Err(failure) = db.attempt("ALTER EXTENSION pg_workflow UPDATE") {
        assert_eq!(failure.sqlstate, "55P03", "{failure:?}");
        assert_eq!(db.fails("SELECT wf_status('signal')").sqlstate, "55000");
        reader.run("COMMIT");
        db.run("ALTER EXTENSION pg_workflow UPDATE");
    }
    drop(reader);
    // In the session that was refused.
    db.run("ALTER ROLE zoo_late LOGIN");
    zoo::finish(&mut db, &token);
    eventually(SOON, "all is well", || db.count("wf_health() WHERE NOT ok") == 0);
    assert_eq!(cluster.logged(idles), 1);
}

#[test]
fn an_update_sends_executors_away_between_two_batches() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE TABLE done (n integer);
         CREATE FUNCTION flow(n integer) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN PERFORM wf_step('s', 'INSERT INTO done VALUES ($1::integer)', to_jsonb(n)); END $$;
         CREATE FUNCTION slow() RETURNS void LANGUAGE plpgsql AS $$
         BEGIN PERFORM wf_step('s', 'SELECT pg_sleep(1.5)'); END $$;
         SELECT wf_start('slow', id => 'slow')",
    );
    let pid = db.in_step("slow", "s");
    // As the last statement of an update script does.
    db.run("SELECT wf_internal.announce()");
    db.result("slow");
    eventually(SOON, "the executor has ended", || !is_alive(pid));
    // In the middle of many.
    db.run("SELECT count(wf_start('flow', jsonb_build_object('n', n), id => 'f' || n)) FROM generate_series(1, 500) n");
    for _ in 0..5 {
        db.run("SELECT wf_internal.announce()");
    }
    eventually(SOON, "all are done", || {
        db.count("wf.workflows WHERE status = 'completed'") == 501
    });
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT n) FROM done"), 500);
    assert_eq!(db.count("done"), 500);
    assert_eq!(db.count("wf.steps WHERE attempt > 1"), 0);
}

#[test]
fn meta_json_is_what_pgxn_asks_for() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let text = |file: &str| std::fs::read_to_string(root.join(file)).unwrap();
    let meta: Value = serde_json::from_str(&text("META.json")).unwrap();
    for key in [
        "name",
        "abstract",
        "version",
        "maintainer",
        "license",
        "provides",
        "meta-spec",
    ] {
        assert!(!meta[key].is_null(), "{key} is required");
    }
    assert_eq!(meta["license"], json!("postgresql"));
    assert_eq!(meta["meta-spec"]["version"], json!("1.0.0"));
    let cargo = text("Cargo.toml");
    let version = cargo.lines().find_map(|line| line.strip_prefix("version = ")).unwrap();
    assert_eq!(meta["version"].to_string(), version);
    for (name, provided) in meta["provides"].as_object().unwrap() {
        assert_eq!(provided["version"], meta["version"], "{name}");
        for file in ["file", "docfile"] {
            assert!(root.join(provided[file].as_str().unwrap()).is_file(), "{name}: {file}");
        }
    }
}

/// What a made-up extension of two versions puts into schema x: the script that leads from one to the other is made as ours is.
fn made_script(cluster: &Cluster, release: &str, updates: &str, sources: &str) -> Result<String, String> {
    let write = |name: &str, text: &str| {
        let path = cluster.socket().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let output = std::process::Command::new("awk")
        .arg("-f")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/update.awk"))
        .args(["role=release".to_owned(), write("release.sql", release)])
        .args(["role=update".to_owned(), write("updates.sql", updates)])
        .args(["role=source".to_owned(), write("source.sql", sources)])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

const RELEASE: &str = r#"
/* a comment; with a semicolon */
CREATE SCHEMA x;
CREATE TABLE x.t (a integer);
CREATE FUNCTION x.same() RETURNS integer LANGUAGE sql AS $$ SELECT 1; -- ; $$; COMMENT ON FUNCTION x.same() IS 'it''s; the same';
CREATE FUNCTION x.body() RETURNS text LANGUAGE sql AS $body$ SELECT 'one;' $body$;
COMMENT ON FUNCTION x.body() IS 'old';
CREATE FUNCTION x.more(a integer) RETURNS integer LANGUAGE sql AS $$ SELECT a $$;
COMMENT ON FUNCTION x.more(integer) IS 'more';
CREATE FUNCTION x.result() RETURNS TABLE (a integer) LANGUAGE sql
BEGIN ATOMIC
    SELECT CASE WHEN true THEN 1 END; -- a statement;
END;
COMMENT ON FUNCTION x.result() IS 'result';
REVOKE ALL ON FUNCTION x.result() FROM PUBLIC;
CREATE FUNCTION x.by_hand() RETURNS integer LANGUAGE sql AS 'SELECT 1';
COMMENT ON FUNCTION x.by_hand() IS 'by hand';
CREATE PROCEDURE x.gone() LANGUAGE sql AS '';
COMMENT ON PROCEDURE x.gone() IS 'gone';
CREATE VIEW x.v AS SELECT a FROM x.t;
CREATE VIEW x.gone_view AS SELECT a FROM x.v;
CREATE FUNCTION x.write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
COMMENT ON FUNCTION x.write() IS 'write';
CREATE TRIGGER write INSTEAD OF INSERT ON x.v FOR EACH ROW EXECUTE FUNCTION x.write();
GRANT SELECT ON x.v TO PUBLIC;
"#;

/// The update's part of [`CHANGED`].
const UPDATES: &str = "ALTER TABLE x.t ADD b text; CREATE TABLE x.u (a integer); DROP FUNCTION x.by_hand();\n";

const CHANGED: &str = r#"
CREATE TABLE x.u (
    a integer
);
SET search_path = pg_catalog;
CREATE FUNCTION x.same() RETURNS integer
    LANGUAGE sql AS $$ SELECT 1; -- ; $$;
COMMENT ON FUNCTION x.same() IS 'it''s; the same';
CREATE FUNCTION x.body() RETURNS text LANGUAGE sql STABLE AS $body$ SELECT 'two;' $body$;
COMMENT ON FUNCTION x.body() IS 'new';
REVOKE ALL ON FUNCTION x.body() FROM PUBLIC;
CREATE FUNCTION x.more(a integer, b integer DEFAULT 1) RETURNS integer LANGUAGE sql AS $$ SELECT a + b $$;
COMMENT ON FUNCTION x.more(integer, integer) IS 'more';
CREATE FUNCTION x.result() RETURNS TABLE (a integer, b text) LANGUAGE sql
BEGIN ATOMIC
    SELECT CASE WHEN true THEN 1 END, 'b';
END;
COMMENT ON FUNCTION x.result() IS 'result';
REVOKE ALL ON FUNCTION x.result() FROM PUBLIC;
CREATE FUNCTION x.by_hand() RETURNS integer LANGUAGE sql AS 'SELECT 1';
COMMENT ON FUNCTION x.by_hand() IS 'by hand';
SET search_path = x;
CREATE VIEW x.v AS SELECT a, b FROM t;
CREATE FUNCTION x.write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
COMMENT ON FUNCTION x.write() IS 'write';
CREATE TRIGGER write INSTEAD OF INSERT OR DELETE ON x.v FOR EACH ROW EXECUTE FUNCTION x.write();
GRANT SELECT ON x.v TO PUBLIC;
CREATE VIEW x.new_view AS SELECT 1 AS one;
"#;

#[test]
fn update_scripts_are_made_from_what_differs() {
    let cluster = Cluster::bare(&[]);
    let facts = "SELECT pg_get_functiondef(oid) || coalesce(obj_description(oid, 'pg_proc'), '-') || coalesce(proacl::text, '-') FROM pg_proc WHERE pronamespace = 'x'::regnamespace
                 UNION ALL SELECT pg_get_viewdef(oid) || relname || coalesce(relacl::text, '-') FROM pg_class WHERE relnamespace = 'x'::regnamespace AND relkind = 'v'
                 UNION ALL SELECT relname || attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'x'::regnamespace AND attnum > 0
                 UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger ORDER BY 1";
    let facts_of = |name: &str, scripts: &[&str]| -> Vec<String> {
        cluster.admin().run(&format!("CREATE DATABASE {name}"));
        let mut db = cluster.connect(name, "postgres");
        scripts.iter().for_each(|script| db.run(script));
        db.run("RESET search_path");
        db.all(facts)
    };
    let update = made_script(&cluster, RELEASE, UPDATES, CHANGED).unwrap();
    let fresh = facts_of(
        "fresh",
        &["CREATE SCHEMA x; CREATE TABLE x.t (a integer, b text)", CHANGED],
    );
    assert_eq!(facts_of("updated", &[RELEASE, &update]), fresh, "{update}");
    // What is the same is not touched.
    assert!(
        !update.contains("x.same") && !update.contains("FUNCTION x.write() RETURNS") && !update.contains("GRANT"),
        "{update}"
    );
    assert_eq!(update.matches("REVOKE").count(), 2, "{update}");
    // Nothing has changed, nothing is done.
    assert_eq!(made_script(&cluster, RELEASE, "", RELEASE), Ok(String::new()));

    // What it cannot know, it does not guess.
    let error =
        |updates: &str, more: &str| made_script(&cluster, RELEASE, updates, &format!("{RELEASE}\n{more}")).unwrap_err();
    assert!(error("", "CREATE TABLE x.u (a integer);").contains("stands in no update: CREATE TABLE x.u"));
    assert!(error("", "CREATE FUNCTION x.f() RETURNS int LANGUAGE sql AS '';").contains("FUNCTION x.f has no comment"));
    assert!(error("", "COMMENT ON FUNCTION x.f() IS 'f';").contains("does not stand behind its function"));
    assert!(error("", "SELECT 'no end").contains("does not end"));
}
