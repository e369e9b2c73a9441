-- An attempt of a branch begins that runs in no transaction, unless its call or run has ended meanwhile or has a cancel to come:
-- looked at behind the process' note that it works on it. $1 run_id, $2 n, $3 item, $4 started_at, $5 owner, $6 priority
WITH begun AS (
    UPDATE wf_internal.branches b
    SET status = 'running', attempt = b.attempt + 1, started_at = coalesce(b.started_at, $4), due_at = NULL
    WHERE b.run_id = $1 AND b.n = $2 AND b.item = $3
      AND EXISTS (SELECT FROM wf_internal.runs r
                  WHERE r.run_id = $1 AND r.finished_at IS NULL AND r.status <> 'compensating')
      AND EXISTS (SELECT FROM wf_internal.steps s WHERE s.run_id = $1 AND s.n = $2 AND s.finished_at IS NULL)
      AND NOT EXISTS (SELECT FROM wf_internal.controls c WHERE c.run_id = $1 AND c.action = 'cancel')
    RETURNING true
)
INSERT INTO wf_internal.commands (started_at, run_id, n, item, owner, priority)
SELECT $4, $1, $2, $3, $5, $6 FROM begun
ON CONFLICT (run_id, n, item) DO UPDATE SET started_at = excluded.started_at, priority = excluded.priority
RETURNING true
