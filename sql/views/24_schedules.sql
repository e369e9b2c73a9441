SET LOCAL search_path = pg_catalog, pg_temp;
-- Schedules: each user sees those of the roles whose privileges it has.
CREATE VIEW wf.schedules WITH (security_barrier) AS
    SELECT s.name, s.schedule, s.time_zone, s.workflow, s.command AS sql, s.input,
           CASE WHEN s.paused THEN 'paused'
                WHEN s.failures > 0 THEN 'failing'
                WHEN s.next_at IS NULL AND s.timer_at IS NULL AND s.queued_at IS NULL AND s.schedule <> '@reboot' THEN 'ended'
                ELSE 'active' END AS status,
           CASE WHEN s.next_at IS NOT NULL THEN coalesce(s.timer_at, s.next_at) END AS next_fire,
           s.last_tick, s.fired_at AS last_fire, s.fired_at - s.fired_due AS lag,
           s.fired, s.missed, s.skipped, s.failed,
           (SELECT pg_catalog.count(*) FROM pg_catalog.unnest(s.open_ids) AS i(id)
            WHERE EXISTS (SELECT FROM wf_internal.runs r WHERE r.id = i.id AND r.finished_at IS NULL)) AS running,
           s.queued_at AS queued, s.last_id, l.status AS last_status, l.error AS last_run_error,
           s.error->>'message' AS last_error, s.error->>'sqlstate' AS last_sqlstate, s.failed_at AS last_error_at,
           s.overlap, s.catch_up, s.catch_up_window * interval '1 microsecond' AS catch_up_window,
           nullif(s.jitter, 0) * interval '1 microsecond' AS jitter, s.starts_at, s.ends_at,
           s.options->>'time_key' AS time_key, (s.options->>'priority')::integer AS priority,
           (s.options->>'timeout')::bigint * interval '1 microsecond' AS timeout, s.options->'retry' AS retry, NOT s.options ? 'transactional' AS transactional,
           s.owner, s.created_at
    FROM wf_internal.schedules s
    LEFT JOIN LATERAL (SELECT r.status, r.error->>'message' AS error FROM wf_internal.runs r
                       WHERE r.id = s.last_id ORDER BY r.seq DESC LIMIT 1) AS l ON true
    WHERE (SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(s.owner::oid, 'USAGE');
COMMENT ON VIEW wf.schedules IS 'schedules: their next and last times, and what has become of those that have passed';

GRANT SELECT ON wf.schedules TO PUBLIC;
