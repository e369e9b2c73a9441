-- The last call of a name. $1 run_id, $2 name
SELECT s.n FROM wf_internal.steps s
WHERE s.run_id = $1 AND s.name = $2 AND s.kind NOT IN ('value', 'set')
ORDER BY s.n DESC
LIMIT 1
