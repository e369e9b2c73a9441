-- Items of a call that have not been done are to be done; those among them that were begun before. One that runs in no
-- transaction goes on. $1 run_id, $2 n, $3 number of
-- items that were begun
UPDATE wf_internal.branches b
SET status = 'pending', attempt = 0, error = NULL, started_at = NULL, finished_at = NULL, due_at = NULL
WHERE b.run_id = $1 AND b.n = $2 AND b.item <= $3 AND b.status NOT IN ('completed', 'running')
RETURNING b.item
