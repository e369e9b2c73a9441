-- A new run beside another, on its way from where it is given a history. $1 run_id, $2 id, $3 run_id of the other,
-- $4 def_id, $5 input or NULL, $6 now
INSERT INTO wf_internal.runs (created_at, started_at, deadline, run_id, seq, def_id, owner, priority, depth, status, id, input)
SELECT $6, $6, $6 + (r.deadline - coalesce(r.start_at, r.created_at)), $1, 1, $4, r.owner, r.priority, 0, 'running', $2,
       coalesce($5, r.input)
FROM wf_internal.runs r
WHERE r.run_id = $3
ON CONFLICT (id, seq) DO NOTHING
RETURNING deadline, priority
