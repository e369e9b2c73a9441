-- Moves what is due to ready, a bounded number at a time, from a place in the order on. Locked timers are being deleted by
-- their run's turn. $1 now, $2 how many, $3 to $6 due_at, run_id, n and item of the place
WITH due AS (
    DELETE FROM wf_internal.timers t
    WHERE t.ctid = ANY (ARRAY(SELECT d.ctid FROM wf_internal.timers d
                              WHERE d.due_at <= $1 AND (d.due_at, d.run_id, d.n, d.item) > ($3, $4, $5, $6)
                              ORDER BY d.due_at, d.run_id, d.n, d.item LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING t.owner, t.priority, t.run_id, t.due_at, t.n, t.item
), moved AS (
    INSERT INTO wf_internal.ready (owner, priority, run_id, n, item)
    SELECT d.owner, d.priority, d.run_id, CASE WHEN d.item > 0 THEN d.n END, nullif(d.item, 0) FROM due d ORDER BY d.due_at
)
SELECT d.owner::oid, d.due_at, d.run_id, d.n, d.item FROM due d
