-- The place of a run or step is given back, unless whoever admits it has it locked. Says whether others wait for it. $1 run_id,
-- $2 n, $3 item
DELETE FROM wf_internal.task_queue w USING wf_internal.queues q
WHERE w.ctid = ANY (ARRAY(SELECT l.ctid FROM wf_internal.task_queue l
                          WHERE l.inside AND l.run_id = $1 AND l.n = $2 AND l.item = $3 FOR UPDATE SKIP LOCKED))
  AND q.queue_id = w.queue_id
RETURNING q.queue_id, w.running AND (q.max_running IS NOT NULL OR q.max_running_per_key IS NOT NULL), q.name, q.notifies
