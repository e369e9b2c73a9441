-- Moves what is due to ready, a bounded number at a time. Locked timers are being deleted by their run's turn.
-- $1 now, $2 how many
WITH due AS (
    DELETE FROM wf_internal.timers t
    WHERE t.ctid = ANY (ARRAY(SELECT d.ctid FROM wf_internal.timers d WHERE d.due_at <= $1
                              ORDER BY d.due_at LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING t.owner, t.priority, t.run_id, t.due_at
)
INSERT INTO wf_internal.ready (owner, priority, run_id)
SELECT d.owner, d.priority, d.run_id FROM due d ORDER BY d.due_at
RETURNING owner::oid
