-- What waits in a queue, counted up to a limit. $1 queue_id, $2 limit
SELECT pg_catalog.count(*)::integer
FROM (SELECT FROM wf_internal.task_queue q WHERE q.queue_id = $1 AND NOT q.running LIMIT $2) AS w
