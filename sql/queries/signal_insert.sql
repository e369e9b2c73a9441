-- $1 run_id, $2 name, $3 payload, $4 key, $5 sent_at, $6 sent_by
INSERT INTO wf_internal.signals (sent_at, run_id, sent_by, name, key, payload) VALUES ($5, $1, $6, $2, $4, $3)
ON CONFLICT (run_id, key) WHERE key IS NOT NULL DO NOTHING
RETURNING true
