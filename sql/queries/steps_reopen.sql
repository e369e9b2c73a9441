-- Opens the calls again whose failure has ended the run, and that others have worked on, so that what these have done is not
-- done again: a map or a child that the function stood at, a begun step or child with the run's own error. The wait for it
-- goes, if it was the last call. $1 run_id
WITH run AS (
    SELECT r.error->>'sqlstate' AS sqlstate, r.error->>'message' AS message FROM wf_internal.runs r WHERE r.run_id = $1
), last AS (
    SELECT s.n, s.kind FROM wf_internal.steps s
    WHERE s.run_id = $1 AND NOT s.begun AND s.kind NOT IN ('value', 'set', 'emit', 'compensation')
    ORDER BY s.n DESC
    LIMIT 1
), gone AS (
    DELETE FROM wf_internal.steps s USING last l
    WHERE s.run_id = $1 AND s.n = l.n AND l.kind = 'await'
      AND NOT EXISTS (SELECT FROM wf_internal.steps x WHERE x.run_id = $1 AND x.n > l.n)
)
UPDATE wf_internal.steps s
SET status = 'waiting', error = NULL, finished_at = NULL, result = CASE WHEN s.kind = 'map' THEN s.result END
FROM run r
WHERE s.run_id = $1 AND s.status IN ('failed', 'cancelled')
  AND (s.begun AND s.kind = 'step' AND s.error->>'sqlstate' = r.sqlstate AND s.error->>'message' = r.message
       OR s.begun AND s.kind = 'child' AND s.error->>'sqlstate' = r.sqlstate AND s.error->>'message' = r.message
          AND EXISTS (SELECT FROM wf_internal.runs c
                      WHERE c.parent_run_id = $1 AND c.parent_n = s.n AND NOT coalesce(c.error ? 'compensated', false))
       OR NOT s.begun AND s.n = (SELECT l.n FROM last l)
          AND (s.kind = 'child' AND EXISTS (SELECT FROM wf_internal.runs c
                                            WHERE c.parent_run_id = $1 AND c.parent_n = s.n
                                              AND NOT coalesce(c.error ? 'compensated', false))
               OR s.kind = 'map' AND EXISTS (SELECT FROM wf_internal.branches b WHERE b.run_id = $1 AND b.n = s.n)
                  -- Nobody would go on with an item whose child could not be started.
                  AND NOT (s.request ? 'workflow'
                           AND EXISTS (SELECT FROM wf_internal.branches b
                                       WHERE b.run_id = $1 AND b.n = s.n AND b.status = 'failed'
                                         AND NOT EXISTS (SELECT FROM wf_internal.runs c
                                                         WHERE c.parent_run_id = $1 AND c.parent_n = s.n AND c.parent_item = b.item)))))
RETURNING s.n, s.kind, s.name, s.request, s.result
