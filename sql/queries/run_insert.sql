-- $1 run_id, $2 id, $3 seq, $4 def_id, $5 owner, $6 priority, $7 input, $8 created_at, $9 deadline, $10 start_at, $11 start_by
INSERT INTO wf_internal.runs (created_at, start_by, deadline, start_at, run_id, seq, def_id, owner, priority, status, id, input)
VALUES ($8, $11, $9, $10, $1, $3, $4, $5, $6, 'pending', $2, $7)
ON CONFLICT (id, seq) DO NOTHING
RETURNING true
