-- $1 due_at, $2 run_id, $3 n, $4 item
DELETE FROM wf_internal.timers t WHERE t.due_at = $1 AND t.run_id = $2 AND t.n = $3 AND t.item = $4
