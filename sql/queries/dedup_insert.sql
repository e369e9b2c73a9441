-- Waits for a transaction that inserts or deletes the same key. $1 queue_id, $2 inside, $3 key, $4 run_id, $5 n
INSERT INTO wf_internal.dedup (queue_id, inside, key, run_id, n) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
