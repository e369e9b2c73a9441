//! Every query of the files in `monitoring/` runs, as the role that is to run it, and says what is so.

use std::path::Path;

use pg_workflow_server_tests::*;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../monitoring")
        .join(name);
    std::fs::read_to_string(path).expect("a file of the repository")
}

/// The block scalars of a YAML file that stand under the key `query`.
fn queries(yaml: &str) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    let mut lines = yaml.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim() == "query: |" {
            let mut query = String::new();
            while let Some(next) = lines.next_if(|next| indent(next) > indent(line)) {
                query.push_str(next.trim());
                query.push('\n');
            }
            found.push(query);
        }
    }
    found
}

/// The queries of a dashboard with the values of its variables, as Grafana puts them in: those of its panels with their titles.
fn panels(dashboard: &Value) -> Vec<(String, String)> {
    let fill = |sql: &str| {
        let sql = sql
            .replace("${workflow:sqlstring}", "'good','bad'")
            .replace("${resolution}", "1 min");
        let mut filled = String::new();
        let mut rest = sql.as_str();
        while let Some((before, behind)) = rest.split_once("$__timeFilter(") {
            let (column, behind) = behind.split_once(')').unwrap();
            filled += &format!("{before}{column} BETWEEN now() - interval '6 h' AND now() + interval '1 min'");
            rest = behind;
        }
        filled + rest
    };
    let panels = dashboard["panels"].as_array().unwrap();
    panels
        .iter()
        .flat_map(|panel| {
            let title = panel["title"].as_str().unwrap().to_owned();
            let targets = panel["targets"].as_array().unwrap();
            targets
                .iter()
                .map(move |target| (title.clone(), target["rawSql"].as_str().unwrap().to_owned()))
        })
        .map(|(title, sql)| (title, fill(&sql)))
        .collect()
}

#[test]
fn every_query_of_the_dashboard_and_the_exporters_runs() {
    let cluster = Cluster::new();
    let mut db = cluster.admin();
    db.run(
        "CREATE FUNCTION good(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT wf_step('one', 'SELECT 1') $$;
         CREATE FUNCTION bad(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT wf_step('no', 'SELECT 1/0') $$;
         SELECT wf_queue('q');
         SELECT wf_schedule('nightly', '0 3 * * *', 'good');
         SELECT wf_start('good', id => 'g'), wf_start('bad', id => 'b');
         CREATE ROLE watch LOGIN; GRANT pg_monitor TO watch",
    );
    db.result("g");
    db.failure("b");
    let mut watch = cluster.connect("postgres", "watch");
    eventually(SOON, "it is counted", || {
        watch.count("wf.stats WHERE period = 'total' AND completed + failed = 1") == 2
    });

    let exporter = queries(&file("postgres_exporter.yaml"));
    assert_eq!(
        exporter,
        queries(&file("sql_exporter.collector.yml")),
        "the same queries"
    );
    assert!(exporter.len() >= 8);
    let mut metrics = 0;
    for sql in &exporter {
        // Each column is described in both files, and each key of a description is a column.
        let statement = watch
            .prepare(sql)
            .unwrap_or_else(|error| panic!("{sql}: {:?}", failure_of(&error)));
        for column in statement.columns() {
            let name = column.name();
            assert!(
                file("postgres_exporter.yaml").contains(&format!("    - {name}: {{usage: ")),
                "{name}"
            );
            metrics += 1;
        }
        watch.run(sql);
    }
    assert_eq!(metrics, file("postgres_exporter.yaml").matches("{usage: ").count());
    // Exporters read numbers of these types, and refuse others.
    let totals = watch.query(&exporter[0], &[]).unwrap();
    assert_eq!(totals.len(), 2);

    let dashboard: Value = serde_json::from_str(&file("grafana-dashboard.json")).unwrap();
    let panels = panels(&dashboard);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!(variables.len(), 3);
    let workflows: Vec<String> = watch.all(variables[1]["query"].as_str().unwrap());
    assert_eq!(workflows, ["bad", "good"]);
    for (title, sql) in &panels {
        assert!(!sql.contains('$'), "{title}: {sql}");
        // As the owner, who also sees its queues and schedules; and as who only watches.
        for client in [&mut db, &mut watch] {
            let rows = client
                .query(sql, &[])
                .unwrap_or_else(|error| panic!("{title}: {sql}: {:?}", failure_of(&error)));
            let columns: Vec<String> = rows
                .iter()
                .flat_map(|row| row.columns())
                .map(|c| c.name().to_owned())
                .collect();
            if sql.contains("AS time") {
                assert!(
                    columns.contains(&"time".to_owned()) && columns.contains(&"metric".to_owned()),
                    "{title}"
                );
            }
        }
        let empty = db.query(sql, &[]).unwrap().is_empty();
        assert!(!empty || title == "Waiting for signals", "{title} shows nothing: {sql}");
    }
    for title in [
        "Throughput",
        "Run time",
        "Queue wait",
        "Failures by SQLSTATE",
        "Schedules",
        "Executors",
        "Waiting in queues",
    ] {
        assert!(panels.iter().any(|(other, _)| other == title), "{title}");
    }
    let failures: String = watch.one(
        "SELECT string_agg(concat_ws(' ', workflow, kind, sqlstate, failures), ', ' ORDER BY kind) FROM wf.stats_failures",
    );
    assert_eq!(failures, "bad instance 22012 1, bad step 22012 1");
}
