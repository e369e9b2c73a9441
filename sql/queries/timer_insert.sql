-- $1 due_at, $2 run_id, $3 n, $4 owner, $5 priority, $6 item
INSERT INTO wf_internal.timers (due_at, run_id, n, owner, priority, item) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
