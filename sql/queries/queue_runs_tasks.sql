-- $1 queue_id
SELECT true FROM wf_internal.task_queue q WHERE q.queue_id = $1 AND q.running AND NOT q.inside LIMIT 1
