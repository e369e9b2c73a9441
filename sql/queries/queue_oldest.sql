-- What has waited longest in a queue, among the next so many, unless another has it locked. $1 queue_id, $2 how many
SELECT q.run_id, q.n, q.item, q.priority, q.key, q.seq, q.inside
FROM wf_internal.task_queue q
WHERE q.queue_id = $1 AND NOT q.running
  AND q.seq = (SELECT pg_catalog.min(w.seq)
               FROM (SELECT l.seq FROM wf_internal.task_queue l WHERE l.queue_id = $1 AND NOT l.running LIMIT $2) AS w)
LIMIT 1
FOR UPDATE SKIP LOCKED
