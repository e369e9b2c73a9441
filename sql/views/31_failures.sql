SET LOCAL search_path = pg_catalog, pg_temp;
-- What has failed, counted by kind. Served by runs_failed: what it costs grows with the failures, not with what has ended well.
-- The call is the last one that has failed with the run's own error; NULL: the function itself has.
CREATE VIEW wf.failures WITH (security_barrier) AS
    SELECT f.workflow, f.step, f.sqlstate, f.message, pg_catalog.count(*) AS count, min(f.finished_at) AS first_seen, max(f.finished_at) AS last_seen,
           (pg_catalog.array_agg(f.id ORDER BY f.finished_at DESC))[1:3] AS examples,
           (pg_catalog.array_agg(f.error ORDER BY f.finished_at DESC))[1] AS last_error, f.owner
    FROM (SELECT d.workflow, c.name AS step, r.error->>'sqlstate' AS sqlstate, r.error->>'message' AS error,
                 wf_internal.message_shape(r.error->>'message') AS message, r.finished_at, r.id, r.owner
          FROM wf_internal.runs r
          JOIN wf_internal.definitions d USING (def_id)
          LEFT JOIN LATERAL (
              SELECT s.name FROM wf_internal.steps s
              WHERE s.run_id = r.run_id AND s.status = 'failed' AND s.kind NOT IN ('compensation', 'rollback')
                AND s.error->>'sqlstate' = r.error->>'sqlstate' AND s.error->>'message' = r.error->>'message'
              ORDER BY s.n DESC LIMIT 1) AS c ON true
          WHERE r.error IS NOT NULL AND r.status = 'failed'
            AND ((SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(r.owner::oid, 'USAGE'))) AS f
    GROUP BY f.workflow, f.step, f.sqlstate, f.message, f.owner;
COMMENT ON VIEW wf.failures IS 'failed instances, counted by workflow, step, SQLSTATE and message without its values (message), with the last full message and up to three ids';

GRANT SELECT ON wf.failures TO PUBLIC;
