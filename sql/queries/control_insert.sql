-- $1 run_id, $2 action, $3 reason, $4 asked_at, $5 asked_by
INSERT INTO wf_internal.controls (asked_at, run_id, asked_by, action, reason) VALUES ($4, $1, $5, $2, $3)
