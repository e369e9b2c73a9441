-- Limited: what is put into it may have to wait for something inside of the server. $1 owner, $2 name
SELECT q.queue_id, q.max_running IS NOT NULL OR q.max_running_per_key IS NOT NULL OR q.rate IS NOT NULL OR q.paused,
       q.max_backlog, q.drops_oldest, q.notifies
FROM wf_internal.queues q WHERE q.name = $2 AND q.owner = $1::oid
