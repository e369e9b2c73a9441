-- What a run stands at comes to nothing with it. $1 run_id, $2 finished_at
WITH ended AS (DELETE FROM wf_internal.waits w WHERE w.run_id = $1)
UPDATE wf_internal.steps SET status = 'cancelled', finished_at = $2, due_at = NULL
WHERE run_id = $1 AND status IN ('waiting', 'retrying')
