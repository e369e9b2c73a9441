-- $1 pause_id, $2 run_id, $3 owner, $4 priority, $5 n, $6 item
INSERT INTO wf_internal.parked (pause_id, run_id, n, item, owner, priority) VALUES ($1, $2, $5, $6, $3, $4)
ON CONFLICT DO NOTHING
