-- Ends a run that has not begun, unless an executor is beginning it just now. $1 run_id, $2 error, $3 finished_at
UPDATE wf_internal.runs r
SET status = 'failed', error = $2, finished_at = $3
WHERE r.run_id = (SELECT p.run_id FROM wf_internal.runs p
                  WHERE p.run_id = $1 AND p.status = 'pending' FOR NO KEY UPDATE SKIP LOCKED)
RETURNING r.deadline
