-- As queue_find. $1 queue_id
SELECT q.queue_id, q.max_running IS NOT NULL OR q.max_running_per_key IS NOT NULL OR q.rate IS NOT NULL OR q.paused,
       q.max_backlog, q.drops_oldest, q.notifies
FROM wf_internal.queues q WHERE q.queue_id = $1
