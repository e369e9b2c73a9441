-- Consumes the oldest signal of a name, or the oldest behind a place in the order. Only the run's turn does, so that the row
-- stays where it is. $1 run_id, $2 name, $3 consumed_by, $4 consumed_at, $5 seq of the place
UPDATE wf_internal.signals g
SET consumed_by = $3, consumed_at = $4
WHERE g.ctid = (SELECT u.ctid FROM wf_internal.signals u
                WHERE u.run_id = $1 AND u.name = $2 AND u.seq > $5 AND u.consumed_by IS NULL ORDER BY u.seq LIMIT 1)
RETURNING g.payload, g.seq
