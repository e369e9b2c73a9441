-- A cancelled task begins again, with all its attempts and times; it is not in its queue yet. $1 run_id, $2 n, $3 now
UPDATE wf_internal.tasks t
SET status = 'retrying', attempt = 0, created_at = $3, queued_at = $3, started_at = NULL, finished_at = NULL,
    lease = NULL, lease_until = NULL, worker = NULL, details = NULL, error = NULL
WHERE t.run_id = $1 AND t.n = $2 AND t.status = 'cancelled'
RETURNING t.n
