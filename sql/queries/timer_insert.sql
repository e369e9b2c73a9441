-- $1 due_at, $2 run_id, $3 n, $4 owner, $5 priority
INSERT INTO wf_internal.timers (due_at, run_id, n, owner, priority) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
