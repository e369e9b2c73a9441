-- $1 run_id, $2 finished_at
UPDATE wf_internal.steps SET status = 'cancelled', finished_at = $2, due_at = NULL
WHERE run_id = $1 AND status IN ('waiting', 'retrying')
