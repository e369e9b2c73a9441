-- Waits for the end of the task's end, should it be under way. $1 queue_id, $2 key, $3 run_id, $4 n, $5 priority
WITH dedup AS (
    UPDATE wf_internal.dedup d SET joined = d.joined + 1 WHERE d.queue_id = $1 AND NOT d.inside AND d.key = $2
    RETURNING d.queue_id, d.key
)
INSERT INTO wf_internal.joined (queue_id, key, run_id, n, priority)
SELECT d.queue_id, d.key, $3, $4, $5 FROM dedup d
ON CONFLICT (run_id, n) DO UPDATE SET queue_id = excluded.queue_id, key = excluded.key
