-- $1 run_id, $2 name
SELECT s.result FROM wf_internal.steps s
WHERE s.run_id = $1 AND s.kind = 'set' AND s.name = $2
ORDER BY s.n DESC
LIMIT 1
