//! pg_workflow: durable workflows inside Postgres. ARCHITECTURE.md has the map.

mod api;
mod engine;
mod error;
mod hub;
mod pg;
mod settings;
mod store;
mod worker;

use pgrx::prelude::*;

::pgrx::pg_module_magic!(name, version);

// The install script, in order. Tables are created once and changed by update scripts; functions and views are replaced
// by every update. Each file begins with its search_path: what stands in tables and views finds names and operators in
// pg_catalog only, and not what somebody has put into the extension's schema beforehand.
extension_sql_file!("../sql/tables/00_schemas.sql", name = "schemas", bootstrap);
extension_sql_file!(
    "../sql/tables/10_definitions.sql",
    name = "definitions",
    requires = ["schemas"]
);
extension_sql_file!("../sql/tables/20_runs.sql", name = "runs", requires = ["definitions"]);
extension_sql_file!("../sql/tables/30_ready.sql", name = "ready", requires = ["runs"]);
extension_sql_file!("../sql/tables/40_inbox.sql", name = "inbox", requires = ["ready"]);
extension_sql_file!("../sql/tables/50_home.sql", name = "home", requires = ["inbox"]);
extension_sql_file!(
    "../sql/tables/60_operations.sql",
    name = "operations_tables",
    requires = ["home"]
);
extension_sql_file!(
    "../sql/tables/61_remarks.sql",
    name = "remarks_tables",
    requires = ["operations_tables"]
);
extension_sql_file!(
    "../sql/tables/62_waits.sql",
    name = "waits_tables",
    requires = ["remarks_tables"]
);
extension_sql_file!(
    "../sql/tables/63_cache.sql",
    name = "cache_tables",
    requires = ["waits_tables"]
);
extension_sql_file!(
    "../sql/tables/64_tasks.sql",
    name = "tasks_tables",
    requires = ["cache_tables"]
);
extension_sql_file!(
    "../sql/tables/66_commands.sql",
    name = "commands_tables",
    requires = ["tasks_tables"]
);
extension_sql_file!(
    "../sql/tables/67_schedules.sql",
    name = "schedules_tables",
    requires = ["commands_tables"]
);
extension_sql_file!(
    "../sql/tables/68_crashes.sql",
    name = "crashes_tables",
    requires = ["schedules_tables"]
);
extension_sql_file!(
    "../sql/tables/68_logs.sql",
    name = "logs_tables",
    requires = ["crashes_tables"]
);
extension_sql_file!(
    "../sql/tables/68_retention.sql",
    name = "retention_tables",
    requires = ["logs_tables"]
);
extension_sql_file!(
    "../sql/functions/10_client.sql",
    name = "client",
    requires = ["retention_tables"]
);
extension_sql_file!("../sql/functions/20_inside.sql", name = "inside", requires = ["client"]);
extension_sql_file!(
    "../sql/functions/21_parallel.sql",
    name = "parallel",
    requires = ["inside"]
);
extension_sql_file!(
    "../sql/functions/30_operate.sql",
    name = "operate",
    requires = ["parallel"]
);
extension_sql_file!(
    "../sql/functions/31_privileges.sql",
    name = "privileges",
    requires = ["operate"]
);
extension_sql_file!(
    "../sql/functions/40_operations.sql",
    name = "operations",
    requires = ["privileges"]
);
extension_sql_file!(
    "../sql/functions/42_cache.sql",
    name = "cache",
    requires = ["operations"]
);
extension_sql_file!(
    "../sql/functions/43_explain.sql",
    name = "explain",
    requires = ["cache"]
);
extension_sql_file!(
    "../sql/functions/44_explain_calls.sql",
    name = "explain_calls",
    requires = ["explain"]
);
extension_sql_file!(
    "../sql/functions/50_versions.sql",
    name = "versions",
    requires = ["explain_calls"]
);
extension_sql_file!(
    "../sql/functions/51_retention.sql",
    name = "retention",
    requires = ["versions"]
);
extension_sql_file!(
    "../sql/functions/60_check.sql",
    name = "check",
    requires = ["retention"]
);
extension_sql_file!(
    "../sql/functions/61_triggers.sql",
    name = "triggers",
    requires = ["check"]
);
extension_sql_file!(
    "../sql/functions/62_metrics.sql",
    name = "metrics",
    requires = ["triggers"]
);
extension_sql_file!(
    "../sql/functions/70_values.sql",
    name = "values",
    requires = ["metrics"]
);
extension_sql_file!("../sql/functions/71_test.sql", name = "test", requires = ["values"]);
extension_sql_file!("../sql/functions/80_tasks.sql", name = "tasks", requires = ["test"]);
extension_sql_file!(
    "../sql/functions/81_schedules.sql",
    name = "schedules",
    requires = ["tasks"]
);
extension_sql_file!("../sql/functions/82_cron.sql", name = "cron", requires = ["schedules"]);
extension_sql_file!(
    "../sql/functions/83_pictures.sql",
    name = "pictures",
    requires = ["cron"]
);
extension_sql_file!("../sql/views/10_views.sql", name = "views", requires = ["pictures"]);
extension_sql_file!(
    "../sql/views/20_operations.sql",
    name = "operations_views",
    requires = ["views"]
);
extension_sql_file!(
    "../sql/views/20_values.sql",
    name = "values_views",
    requires = ["operations_views"]
);
extension_sql_file!(
    "../sql/views/21_remarks.sql",
    name = "remarks_views",
    requires = ["values_views"]
);
extension_sql_file!(
    "../sql/views/22_triggers.sql",
    name = "triggers_views",
    requires = ["remarks_views"]
);
extension_sql_file!(
    "../sql/views/22_waiting.sql",
    name = "waiting_views",
    requires = ["triggers_views"]
);
extension_sql_file!(
    "../sql/views/23_tasks.sql",
    name = "tasks_views",
    requires = ["waiting_views"]
);
extension_sql_file!(
    "../sql/views/24_schedules.sql",
    name = "schedules_views",
    requires = ["tasks_views"]
);
extension_sql_file!(
    "../sql/views/25_grants.sql",
    name = "grants_views",
    requires = ["schedules_views"]
);
extension_sql_file!(
    "../sql/views/25_logs.sql",
    name = "logs_views",
    requires = ["grants_views"]
);
extension_sql_file!(
    "../sql/views/25_retention.sql",
    name = "retention_views",
    requires = ["logs_views"]
);
extension_sql_file!(
    "../sql/views/25_timeline.sql",
    name = "timeline_views",
    requires = ["retention_views"]
);
extension_sql_file!(
    "../sql/views/26_stats.sql",
    name = "stats_views",
    requires = ["timeline_views"]
);
extension_sql_file!(
    "../sql/views/30_load.sql",
    name = "load_views",
    requires = ["stats_views"]
);
extension_sql_file!(
    "../sql/views/31_failures.sql",
    name = "failures_views",
    requires = ["load_views"]
);
extension_sql_file!(
    "../sql/views/32_alerts.sql",
    name = "alerts_views",
    requires = ["failures_views"]
);
extension_sql_file!(
    "../sql/functions/90_announce.sql",
    name = "announce",
    requires = ["alerts_views"],
    finalize
);

/// Called by Postgres when the library is loaded: by the postmaster if it is preloaded, else by each session that calls
/// one of the functions.
#[allow(non_snake_case)]
#[pg_guard]
extern "C-unwind" fn _PG_init() {
    settings::define();
    worker::init();
}
