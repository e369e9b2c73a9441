-- From a place in the order on. $1 to $3 due_at, run_id and n of the place
SELECT t.due_at FROM wf_internal.timers t
WHERE (t.due_at, t.run_id, t.n) > ($1, $2, $3)
ORDER BY t.due_at, t.run_id, t.n
LIMIT 1
