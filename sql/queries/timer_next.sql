-- From a place in the order on. $1 to $4 due_at, run_id, n and item of the place
SELECT t.due_at FROM wf_internal.timers t
WHERE (t.due_at, t.run_id, t.n, t.item) > ($1, $2, $3, $4)
ORDER BY t.due_at, t.run_id, t.n, t.item
LIMIT 1
