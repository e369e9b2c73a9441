-- What serving a queue has left: of its bucket, of its round, of its timer. $1 queue_id, $2 tokens, $3 filled_at, $4 last_key, $5 serve_at
UPDATE wf_internal.queues SET tokens = $2, filled_at = $3, last_key = $4, serve_at = $5 WHERE queue_id = $1
