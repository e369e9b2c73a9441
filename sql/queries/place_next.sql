-- The next places of a queue, best first. $1 queue_id, $2 inside, $3 how many
SELECT q.run_id, q.n, q.item, q.priority, q.key, q.seq, q.inside FROM wf_internal.task_queue q
WHERE q.queue_id = $1 AND NOT q.running AND q.inside = $2
ORDER BY q.queue_id, q.running, q.inside, q.priority, q.key, q.seq
LIMIT $3
FOR UPDATE SKIP LOCKED
