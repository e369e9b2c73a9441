SET LOCAL search_path = pg_catalog, pg_temp;
-- What was counted of each workflow. The functions show what the caller may see. Neither view reads what has ended.

-- The planner leaves the count of instances in flight out of a query that does not ask for it.
CREATE VIEW wf.stats WITH (security_barrier) AS
    SELECT s.workflow, s.owner::pg_catalog.regrole AS owner, s.period, s.started, s.completed, s.failed, s.cancelled,
           coalesce(f.in_flight, 0) AS in_flight,
           pg_catalog.make_interval(secs => s.queue_p50) AS queue_p50, pg_catalog.make_interval(secs => s.queue_p95) AS queue_p95,
           pg_catalog.make_interval(secs => s.queue_p99) AS queue_p99, pg_catalog.make_interval(secs => s.run_p50) AS run_p50,
           pg_catalog.make_interval(secs => s.run_p95) AS run_p95, pg_catalog.make_interval(secs => s.run_p99) AS run_p99
    FROM wf_internal.stats() s
    LEFT JOIN (SELECT i.workflow, i.owner, sum(i.instances)::bigint AS in_flight
               FROM wf_internal.in_flight() i GROUP BY i.workflow, i.owner) AS f USING (workflow, owner);
COMMENT ON VIEW wf.stats IS 'of each workflow: instances started and ended in the last minute, hour and day and since the server started, those in flight, percentiles of the time until the first turn (queue_) and from then to the end (run_)';

CREATE VIEW wf.stats_history WITH (security_barrier) AS
    SELECT s.workflow, s.owner::pg_catalog.regrole AS owner, s.resolution, s.at, s.started, s.completed, s.failed, s.cancelled,
           pg_catalog.make_interval(secs => s.queue_p50) AS queue_p50, pg_catalog.make_interval(secs => s.queue_p95) AS queue_p95,
           pg_catalog.make_interval(secs => s.queue_p99) AS queue_p99, pg_catalog.make_interval(secs => s.run_p50) AS run_p50,
           pg_catalog.make_interval(secs => s.run_p95) AS run_p95, pg_catalog.make_interval(secs => s.run_p99) AS run_p99
    FROM wf_internal.stats_history() s;
COMMENT ON VIEW wf.stats_history IS 'the numbers of wf.stats one after the other: of each 5 s of the last minute, each minute of the last hour and each hour of the last day in which something has happened; at: its beginning';

CREATE VIEW wf.stats_failures WITH (security_barrier) AS
    SELECT s.workflow, s.owner::pg_catalog.regrole AS owner, s.kind, s.sqlstate, s.failures
    FROM wf_internal.stats_failures() s;
COMMENT ON VIEW wf.stats_failures IS 'of each workflow: instances that have failed, and attempts of steps (kind: instance, step), by SQLSTATE, since the server started';

GRANT SELECT ON wf.stats, wf.stats_history, wf.stats_failures TO PUBLIC;
