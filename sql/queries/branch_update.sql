-- $1 run_id, $2 n, $3 item, $4 status, $5 attempt, $6 result, $7 error, $8 started_at, $9 finished_at, $10 due_at
UPDATE wf_internal.branches
SET status = $4, attempt = $5, result = $6, error = $7, started_at = coalesce(started_at, $8), finished_at = $9, due_at = $10
WHERE run_id = $1 AND n = $2 AND item = $3
