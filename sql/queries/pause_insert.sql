-- $1 run_id, $2 owner, $3 workflow, $4 paused_by, $5 reason, $6 waiting_for, $7 paused_at
INSERT INTO wf_internal.pauses (paused_at, run_id, owner, workflow, paused_by, reason, waiting_for)
VALUES ($7, $1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
RETURNING true
