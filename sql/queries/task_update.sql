-- $1 run_id, $2 n, $3 status, $4 attempt, $5 queued_at, $6 started_at, $7 finished_at, $8 lease_until, $9 lease_time, $10 timer_at,
-- $11 seq, $12 lease, $13 worker, $14 worker_role, $15 details, $16 error
UPDATE wf_internal.tasks
SET status = $3, attempt = $4, queued_at = $5, started_at = $6, finished_at = $7, lease_until = $8, lease_time = $9, timer_at = $10,
    seq = $11, lease = $12, worker = $13, worker_role = $14, details = $15, error = $16
WHERE run_id = $1 AND n = $2
