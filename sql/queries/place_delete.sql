-- The place of a task. A row that a claim has locked is left to it. $1 queue_id, $2 running, $3 priority, $4 key, $5 seq
DELETE FROM wf_internal.task_queue q
WHERE q.ctid = ANY (ARRAY(SELECT l.ctid FROM wf_internal.task_queue l
                          WHERE l.queue_id = $1 AND l.running = $2 AND NOT l.inside AND l.priority = $3 AND l.key = $4 AND l.seq = $5
                          FOR UPDATE SKIP LOCKED))
