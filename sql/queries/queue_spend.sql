-- $1 queue_id, $2 tokens, $3 filled_at
UPDATE wf_internal.queues SET tokens = $2, filled_at = $3 WHERE queue_id = $1
