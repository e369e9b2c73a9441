-- A row that this transaction has locked. $1 queue_id, $2 inside, $3 priority, $4 key, $5 seq
UPDATE wf_internal.task_queue SET running = true
WHERE queue_id = $1 AND NOT running AND inside = $2 AND priority = $3 AND key = $4 AND seq = $5
