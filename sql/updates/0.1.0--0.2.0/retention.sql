SET LOCAL search_path = pg_catalog, pg_temp;
-- 0.1.0 removed nothing by itself. A database that comes from there goes on so until it is told otherwise: the rule at the
-- end is wf_retention(completed => '1000 years') of a superuser; wf_retention() takes it away.
-- How long instances are kept after their end, where pg_workflow.retention is not to count: said by wf_retention.
CREATE TABLE wf_internal.retention_rules (
    set_at      timestamptz NOT NULL,
    completed   bigint,                         -- microseconds; NULL: a wider rule says it
    failed      bigint,                         -- failed and cancelled ones; NULL: as completed
    owner       regrole,                        -- of runs of this role; NULL: of every role
    set_by      regrole     NOT NULL,
    workflow    text                            -- of this workflow; NULL: of every workflow
);
-- One rule a scope.
CREATE UNIQUE INDEX retention_rules_scope ON wf_internal.retention_rules
    ((coalesce(owner::oid, 0)), (coalesce(workflow, '')));
COMMENT ON TABLE wf_internal.retention_rules IS 'how long instances are kept after their end';

-- What has become of the background purge: one row, written by the scheduler. A record: nothing is decided by it.
CREATE TABLE wf_internal.sweeps (
    swept_at    timestamptz,                    -- end of the last sweep that has come to its end
    next_at     timestamptz,                    -- when the next is due; NULL: nothing is there that comes of age
    removed     bigint      NOT NULL,           -- runs, in all
    last_removed bigint     NOT NULL,           -- by the last sweep, or the one that is under way
    only_row    boolean     PRIMARY KEY DEFAULT true CHECK (only_row)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE wf_internal.sweeps IS 'what the background purge has done';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.retention_rules', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.sweeps', '');
INSERT INTO wf_internal.retention_rules (set_at, completed, set_by)
    SELECT pg_catalog.now(), 31557600000000000, n.nspowner::pg_catalog.regrole
    FROM pg_catalog.pg_namespace n WHERE n.nspname = 'wf_internal';

-- Autovacuum: why, is said in sql/tables.
ALTER TABLE wf_internal.runs SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);
ALTER TABLE wf_internal.steps SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);
ALTER TABLE wf_internal.branches SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);
ALTER TABLE wf_internal.signals SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);
ALTER TABLE wf_internal.tasks SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);
ALTER TABLE wf_internal.ready SET (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE wf_internal.timers SET (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE wf_internal.controls SET (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE wf_internal.answers SET (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE wf_internal.task_queue SET (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
