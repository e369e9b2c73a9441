-- $1 owner, $2 name, $3 now
INSERT INTO wf_internal.queues (filled_at, owner, name) VALUES ($3, $1, $2) ON CONFLICT DO NOTHING
