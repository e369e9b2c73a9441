-- $1 run_id, $2 id, $3 seq, $4 def_id, $5 owner, $6 priority, $7 input, $8 created_at, $9 deadline, $10 start_at, $11 depth,
-- $12 parent_run_id, $13 parent_n, $14 parent_item, $15 start_by, $16 queue, $17 trace
INSERT INTO wf_internal.runs (created_at, deadline, start_at, start_by, run_id, seq, def_id, owner, priority, depth, status, id,
                              input, parent_run_id, parent_n, parent_item, queue, trace)
VALUES ($8, $9, $10, $15, $1, $3, $4, $5, $6, $11, 'pending', $2, $7, $12, $13, $14, $16, $17)
ON CONFLICT (id, seq) DO NOTHING
RETURNING true
