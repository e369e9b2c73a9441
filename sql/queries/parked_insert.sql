-- $1 pause_id, $2 run_id, $3 owner, $4 priority
INSERT INTO wf_internal.parked (pause_id, run_id, owner, priority) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
