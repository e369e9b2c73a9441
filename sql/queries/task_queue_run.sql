-- A row that this transaction has locked. $1 queue_id, $2 priority, $3 seq
UPDATE wf_internal.task_queue SET running = true WHERE queue_id = $1 AND NOT running AND priority = $2 AND seq = $3
