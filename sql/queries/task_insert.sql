-- A call whose failure was retried has a task already, which is made anew; a place that it may have kept goes.
-- $1 run_id, $2 n, $3 queue_id, $4 owner, $5 priority, $6 now, $7 timer_at, $8 key
WITH former AS (
    DELETE FROM wf_internal.task_queue q USING wf_internal.tasks t
    WHERE t.run_id = $1 AND t.n = $2 AND q.queue_id = t.queue_id AND q.running IN (true, false) AND NOT q.inside
      AND q.priority = t.priority AND q.key = t.key AND q.seq = t.seq
), queued AS (
    INSERT INTO wf_internal.task_queue (queued_at, queue_id, running, inside, priority, key, run_id, n, item)
    VALUES ($6, $3, false, false, $5, $8, $1, $2, 0) RETURNING seq
)
INSERT INTO wf_internal.tasks (created_at, queued_at, timer_at, seq, run_id, n, queue_id, owner, attempt, priority, status, key)
SELECT $6, $6, $7, q.seq, $1, $2, $3, $4, 0, $5, 'waiting', $8 FROM queued q
ON CONFLICT (run_id, n) DO UPDATE
SET created_at = excluded.created_at, queued_at = excluded.queued_at, timer_at = excluded.timer_at, seq = excluded.seq,
    queue_id = excluded.queue_id, priority = excluded.priority, key = excluded.key, attempt = 0, status = 'waiting',
    started_at = NULL, finished_at = NULL, lease_until = NULL, lease_time = NULL, lease = NULL, worker = NULL,
    worker_role = NULL, details = NULL, error = NULL
