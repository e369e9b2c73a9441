-- What the next signal of a name must fit: the oldest open wait takes it. $1 run_id, $2 name
SELECT w.schema FROM wf_internal.waits w
WHERE w.run_id = $1 AND w.name = $2
ORDER BY w.run_id, w.n
LIMIT 1
