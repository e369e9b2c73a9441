-- The open call of a name, or with NULL the one that the function stands at. $1 run_id, $2 name
SELECT s.n, s.kind, s.name FROM wf_internal.steps s
WHERE s.run_id = $1 AND s.status IN ('waiting', 'retrying') AND s.kind <> 'rollback'
  AND ($2 IS NULL AND NOT s.begun OR s.name = $2)
ORDER BY s.n DESC
LIMIT 1
