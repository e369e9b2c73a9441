-- A process has crashed that was at a run; how often that has happened without the run getting any further. $1 run_id, $2 step,
-- $3 time
WITH counted AS (
    INSERT INTO wf_internal.crashes AS c (last_at, calls, attempts, run_id, owner, times, step)
    SELECT $3, s.calls, s.attempts, r.run_id, r.owner, 1, $2
    FROM wf_internal.runs r
    CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS calls, coalesce(pg_catalog.sum(x.attempt), 0)::bigint AS attempts
                        FROM wf_internal.steps x WHERE x.run_id = r.run_id) AS s
    WHERE r.run_id = $1 AND r.finished_at IS NULL
    ON CONFLICT (run_id) DO UPDATE
    SET last_at = $3, step = $2, calls = excluded.calls, attempts = excluded.attempts,
        times = CASE WHEN c.calls = excluded.calls AND c.attempts = excluded.attempts THEN c.times + 1 ELSE 1 END
    RETURNING c.times
)
SELECT k.times, r.id FROM counted k, wf_internal.runs r WHERE r.run_id = $1
