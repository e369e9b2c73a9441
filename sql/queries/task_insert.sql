-- A call whose failure was retried has a task already, which is made anew; a place that it may have kept goes.
-- $1 run_id, $2 n, $3 queue_id, $4 owner, $5 priority, $6 now, $7 timer_at
WITH former AS (
    DELETE FROM wf_internal.task_queue q USING wf_internal.tasks t
    WHERE t.run_id = $1 AND t.n = $2 AND q.queue_id = t.queue_id AND q.running IN (true, false) AND q.priority = t.priority
      AND q.seq = t.seq
), queued AS (
    INSERT INTO wf_internal.task_queue (queue_id, running, priority, run_id, n) VALUES ($3, false, $5, $1, $2) RETURNING seq
)
INSERT INTO wf_internal.tasks (created_at, queued_at, timer_at, seq, run_id, n, queue_id, owner, attempt, priority, status)
SELECT $6, $6, $7, q.seq, $1, $2, $3, $4, 0, $5, 'waiting' FROM queued q
ON CONFLICT (run_id, n) DO UPDATE
SET created_at = excluded.created_at, queued_at = excluded.queued_at, timer_at = excluded.timer_at, seq = excluded.seq,
    queue_id = excluded.queue_id, priority = excluded.priority, attempt = 0, status = 'waiting', started_at = NULL,
    finished_at = NULL, lease_until = NULL, lease_time = NULL, lease = NULL, worker = NULL, worker_role = NULL,
    details = NULL, error = NULL
