-- The best priority behind another of what waits in a queue. $1 queue_id, $2 inside, $3 priority
SELECT q.priority FROM wf_internal.task_queue q
WHERE q.queue_id = $1 AND NOT q.running AND q.inside = $2 AND q.priority > $3
ORDER BY q.queue_id, q.running, q.inside, q.priority
LIMIT 1
