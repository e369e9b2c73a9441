-- $1 owner, $2 priority, $3 run_id
INSERT INTO wf_internal.ready (owner, priority, run_id) VALUES ($1, $2, $3) RETURNING ctid, priority, seq
