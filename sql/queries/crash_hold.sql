-- Pauses a run that has crashed the server, unless it is paused already. $1 run_id, $2 until when (NULL: until it is resumed),
-- $3 paused_by, $4 reason, $5 waiting_for, $6 time
WITH paused AS (
    INSERT INTO wf_internal.pauses (paused_at, run_id, owner, paused_by, reason, waiting_for)
    SELECT $6, c.run_id, c.owner, $3, $4, $5 FROM wf_internal.crashes c WHERE c.run_id = $1
    ON CONFLICT DO NOTHING
    RETURNING pause_id
)
UPDATE wf_internal.crashes c
SET until = $2, pause_id = coalesce((SELECT p.pause_id FROM paused p), c.pause_id)
WHERE c.run_id = $1
