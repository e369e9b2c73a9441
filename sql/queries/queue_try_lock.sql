-- As queue_lock, unless another has it. $1 queue_id
SELECT q.max_running, q.rate, q.per, q.tokens, q.filled_at, q.max_running_per_key, q.last_key, q.serve_at, q.paused
FROM wf_internal.queues q WHERE q.queue_id = $1 FOR NO KEY UPDATE SKIP LOCKED
