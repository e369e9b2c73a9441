-- The next tasks of a queue, best first. $1 queue_id, $2 how many
SELECT q.run_id, q.n, q.priority, q.seq FROM wf_internal.task_queue q
WHERE q.queue_id = $1 AND NOT q.running
ORDER BY q.queue_id, q.running, q.priority, q.seq
LIMIT $2
FOR UPDATE SKIP LOCKED
