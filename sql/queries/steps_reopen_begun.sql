-- Opens the begun calls again that the end of their run, or its cancel, has cut off. Not those behind a failure that is taken
-- off the history: they go with it, and the function begins them anew. A task that stands for others under a key for
-- duplicates is theirs now. $1 run_id
WITH last AS (
    SELECT s.n, s.status FROM wf_internal.steps s
    WHERE s.run_id = $1 AND s.kind NOT IN ('value', 'set', 'emit')
      AND NOT (s.status = 'cancelled' AND (s.begun OR s.error->>'sqlstate' IS DISTINCT FROM 'WF002'))
    ORDER BY s.n DESC
    LIMIT 1
)
UPDATE wf_internal.steps s
SET status = 'waiting', error = NULL, finished_at = NULL
WHERE s.run_id = $1 AND s.begun AND s.status = 'cancelled' AND coalesce(s.error->>'sqlstate', 'WF002') = 'WF002'
  AND NOT EXISTS (SELECT FROM last l WHERE l.status IN ('failed', 'cancelled') AND l.n < s.n)
  AND (s.kind <> 'child' OR EXISTS (SELECT FROM wf_internal.runs c WHERE c.parent_run_id = $1 AND c.parent_n = s.n))
  AND (s.kind <> 'task' OR NOT s.request ? 'dedup' AND EXISTS (SELECT FROM wf_internal.tasks t WHERE t.run_id = $1 AND t.n = s.n))
RETURNING s.n, s.kind, s.name, s.request, s.due_at
