-- A child has ended that is an item of a map. $1 run_id, $2 n, $3 item, $4 status, $5 result, $6 error, $7 finished_at
UPDATE wf_internal.branches SET status = $4, attempt = 1, result = $5, error = $6, finished_at = $7
WHERE run_id = $1 AND n = $2 AND item = $3
