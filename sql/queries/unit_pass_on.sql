-- The next run of an id takes the place of the one before. $1 run_id, $2 run_id of the next
WITH dedup AS (
    UPDATE wf_internal.dedup d SET run_id = $2
    FROM wf_internal.runs r
    WHERE r.run_id = $1 AND d.queue_id = (r.queue->>'id')::integer AND d.inside AND d.key = r.queue->>'dedup' AND d.run_id = $1
)
UPDATE wf_internal.task_queue w SET run_id = $2 WHERE w.inside AND w.run_id = $1 AND w.n = 0 AND w.item = 0
