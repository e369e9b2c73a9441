-- The next place of a key. $1 queue_id, $2 inside, $3 priority, $4 key, $5 the seq before
SELECT q.run_id, q.n, q.item, q.priority, q.key, q.seq, q.inside FROM wf_internal.task_queue q
WHERE q.queue_id = $1 AND NOT q.running AND q.inside = $2 AND q.priority = $3 AND q.key = $4 AND q.seq > $5
ORDER BY q.queue_id, q.running, q.inside, q.priority, q.key, q.seq
LIMIT 1
FOR UPDATE SKIP LOCKED
