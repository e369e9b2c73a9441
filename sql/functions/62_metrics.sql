SET LOCAL search_path = @extschema@, pg_temp;
-- What was counted, for those who watch.

CREATE FUNCTION wf_metrics(format text DEFAULT 'prometheus') RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_metrics';
COMMENT ON FUNCTION wf_metrics(text) IS
'Counters and histograms of the instances of this database, since the server started, as text. format: prometheus (the text format 0.0.4) or openmetrics. Times are in seconds. Of the caller''s instances and those of roles that it has the privileges of; of all for members of pg_monitor. Errors: 22023 unknown format.';

CREATE FUNCTION wf_internal.stats() RETURNS TABLE (workflow text, owner oid, period text, at timestamptz,
        started bigint, completed bigint, failed bigint, cancelled bigint,
        queue_p50 double precision, queue_p95 double precision, queue_p99 double precision,
        run_p50 double precision, run_p95 double precision, run_p99 double precision)
    LANGUAGE c ROWS 20 AS 'MODULE_PATHNAME', 'wf_stats';
COMMENT ON FUNCTION wf_internal.stats() IS 'counters that the caller may see; behind wf.stats';

CREATE FUNCTION wf_internal.stats_history() RETURNS TABLE (workflow text, owner oid, resolution text, at timestamptz,
        started bigint, completed bigint, failed bigint, cancelled bigint,
        queue_p50 double precision, queue_p95 double precision, queue_p99 double precision,
        run_p50 double precision, run_p95 double precision, run_p99 double precision)
    LANGUAGE c ROWS 200 AS 'MODULE_PATHNAME', 'wf_stats_history';
COMMENT ON FUNCTION wf_internal.stats_history() IS 'counters that the caller may see; behind wf.stats_history';

CREATE FUNCTION wf_internal.stats_failures() RETURNS TABLE (workflow text, owner oid, kind text, sqlstate text, failures bigint)
    LANGUAGE c ROWS 20 AS 'MODULE_PATHNAME', 'wf_stats_failures';
COMMENT ON FUNCTION wf_internal.stats_failures() IS 'counters that the caller may see; behind wf.stats_failures';

-- From what makes them go on, and up to parents that wait for nothing else: work that grows with what is in flight, and not
-- with what has ended. OFFSET 0: each is looked up by its key, however many the planner expects.
CREATE FUNCTION wf_internal.in_flight() RETURNS TABLE (workflow text, owner oid, instances bigint)
    LANGUAGE sql STABLE SECURITY DEFINER ROWS 20 SET search_path = pg_catalog, pg_temp SET jit = off
    AS $$
        WITH RECURSIVE hinted AS (
            SELECT run_id FROM wf_internal.ready
            UNION SELECT run_id FROM wf_internal.timers
            UNION SELECT run_id FROM wf_internal.waits
            UNION SELECT run_id FROM wf_internal.parked
            UNION SELECT run_id FROM wf_internal.task_queue
            UNION SELECT run_id FROM wf_internal.joined
            UNION SELECT run_id FROM wf_internal.commands
        ), open AS (
            SELECT r.run_id, r.parent_run_id, r.def_id, r.owner
            FROM hinted h
            CROSS JOIN LATERAL (SELECT * FROM wf_internal.runs x WHERE x.run_id = h.run_id OFFSET 0) AS r
            WHERE r.finished_at IS NULL
            UNION
            SELECT p.run_id, p.parent_run_id, p.def_id, p.owner
            FROM open o
            CROSS JOIN LATERAL (SELECT * FROM wf_internal.runs x WHERE x.run_id = o.parent_run_id OFFSET 0) AS p
            WHERE p.finished_at IS NULL
        )
        SELECT d.workflow, o.owner::oid, pg_catalog.count(*)
        FROM open o JOIN wf_internal.definitions d USING (def_id)
        GROUP BY d.workflow, o.owner::oid
    $$;
COMMENT ON FUNCTION wf_internal.in_flight() IS 'instances that have not ended, of all roles; behind wf.stats';

CREATE FUNCTION wf_otlp(id text) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_otlp';
COMMENT ON FUNCTION wf_otlp(text) IS
'The open or last run of an id as spans, in the JSON form of OTLP (resourceSpans): the run, its steps and waits, their branches, its children; what steps have raised as events. What has not ended ends now, and says so by its workflow.status. Ids are the same each time. Errors: 42704 unknown id, 42501 not yours.';
