-- Items of a map that are not done are what their children have come to, which count by what they are: an answer may have come
-- while nobody took it. $1 run_id, $2 n
UPDATE wf_internal.branches b
SET status = c.status, attempt = 1, result = c.result, finished_at = c.finished_at,
    error = c.error || pg_catalog.jsonb_build_object('context', 'child "' || c.id || '"')
FROM wf_internal.runs c
WHERE c.parent_run_id = $1 AND c.parent_n = $2 AND c.status IN ('completed', 'failed', 'cancelled')
  AND NOT EXISTS (SELECT FROM wf_internal.runs x WHERE x.id = c.id AND x.seq = c.seq + 1)
  AND b.run_id = $1 AND b.n = $2 AND b.item = c.parent_item AND b.status = 'pending'
