-- $1 run_id, $2 n, $3 queue_id, $4 owner, $5 priority, $6 now, $7 timer_at
WITH queued AS (
    INSERT INTO wf_internal.task_queue (queue_id, running, priority, run_id, n) VALUES ($3, false, $5, $1, $2) RETURNING seq
)
INSERT INTO wf_internal.tasks (created_at, queued_at, timer_at, seq, run_id, n, queue_id, owner, attempt, priority, status)
SELECT $6, $6, $7, q.seq, $1, $2, $3, $4, 0, $5, 'waiting' FROM queued q
