-- One claim at a time from a queue that has a limit: the next must see what this one has taken. $1 queue_id
SELECT q.max_running, q.rate, q.per, q.tokens, q.filled_at FROM wf_internal.queues q WHERE q.queue_id = $1 FOR NO KEY UPDATE
