-- $1 queue_id, $2 priority, $3 key, $4 run_id, $5 n, $6 now
INSERT INTO wf_internal.task_queue (queued_at, queue_id, running, inside, priority, key, run_id, n, item)
VALUES ($6, $1, false, false, $2, $3, $4, $5, 0) RETURNING seq
