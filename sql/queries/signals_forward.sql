-- Signals that nobody has taken go to the next run of the id; a key that was sent there too does not count twice. $1 run_id, $2 next
-- run_id
WITH gone AS (
    DELETE FROM wf_internal.signals g WHERE g.run_id = $1 AND g.consumed_by IS NULL
    RETURNING g.*
)
INSERT INTO wf_internal.signals (sent_at, run_id, seq, sent_by, name, key, payload) OVERRIDING SYSTEM VALUE
SELECT g.sent_at, $2, g.seq, g.sent_by, g.name, g.key, g.payload FROM gone g
ON CONFLICT (run_id, key) WHERE key IS NOT NULL DO NOTHING
