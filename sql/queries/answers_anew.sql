-- Answers a begun call with what its branch or its child has come to: an answer that came while the run was closed has been
-- dropped. $1 run_id, $2 n
INSERT INTO wf_internal.answers (run_id, n, item, status, result, error)
SELECT b.run_id, b.n, b.item, b.status, NULL, NULL
FROM wf_internal.branches b
WHERE b.run_id = $1 AND b.n = $2 AND b.status = 'completed'
UNION ALL
SELECT c.parent_run_id, c.parent_n, c.parent_item, c.status, c.result,
       c.error || pg_catalog.jsonb_build_object('context', 'child "' || c.id || '"')
FROM wf_internal.runs c
WHERE c.parent_run_id = $1 AND c.parent_n = $2 AND c.status IN ('completed', 'failed', 'cancelled')
  AND NOT EXISTS (SELECT FROM wf_internal.runs x WHERE x.id = c.id AND x.seq = c.seq + 1)
