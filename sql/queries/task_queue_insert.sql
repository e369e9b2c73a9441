-- $1 queue_id, $2 priority, $3 run_id, $4 n
INSERT INTO wf_internal.task_queue (queue_id, running, priority, run_id, n) VALUES ($1, false, $2, $3, $4) RETURNING seq
