-- The place of a task that runs. A claim that has come to it just before has it locked for a moment. $1 queue_id, $2 priority,
-- $3 key, $4 seq
DELETE FROM wf_internal.task_queue q
WHERE q.queue_id = $1 AND q.running AND NOT q.inside AND q.priority = $2 AND q.key = $3 AND q.seq = $4
