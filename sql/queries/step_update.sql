-- An open step moves on or ends. $1 run_id, $2 n, $3 status, $4 attempt, $5 result, $6 error, $7 finished_at, $8 due_at,
-- $9 request
UPDATE wf_internal.steps
SET status = $3, attempt = $4, result = $5, error = $6, finished_at = $7, due_at = $8, request = $9
WHERE run_id = $1 AND n = $2
