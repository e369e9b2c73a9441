-- $1 run_id, $2 status, $3 result, $4 error, $5 started_at, $6 finished_at
UPDATE wf_internal.runs
SET status = $2, result = $3, error = $4, started_at = coalesce(started_at, $5), finished_at = $6, waiting_for = NULL
WHERE run_id = $1
