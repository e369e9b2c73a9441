-- Takes the failure off the end of a history: the last call, if it failed or was cancelled, and what came behind it without
-- an effect of its own (values, waits that the end of the run has cut off). $1 run_id
WITH last AS (
    SELECT s.n, s.status FROM wf_internal.steps s
    WHERE s.run_id = $1 AND s.kind NOT IN ('value', 'set', 'emit')
      AND NOT (s.status = 'cancelled' AND s.error->>'sqlstate' IS DISTINCT FROM 'WF002')
    ORDER BY s.n DESC
    LIMIT 1
), place AS (
    SELECT coalesce((SELECT CASE WHEN l.status IN ('failed', 'cancelled') THEN l.n ELSE l.n + 1 END FROM last l), 1) AS n
), branches AS (
    DELETE FROM wf_internal.branches b USING place p WHERE b.run_id = $1 AND b.n >= p.n
)
DELETE FROM wf_internal.steps s USING place p
WHERE s.run_id = $1 AND s.n >= p.n
RETURNING s.n, s.name
