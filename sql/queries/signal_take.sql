-- Consumes the oldest signal of a name. $1 run_id, $2 name, $3 consumed_by, $4 consumed_at
UPDATE wf_internal.signals g
SET consumed_by = $3, consumed_at = $4
WHERE g.run_id = $1
  AND g.seq = (SELECT u.seq FROM wf_internal.signals u
               WHERE u.run_id = $1 AND u.name = $2 AND u.consumed_by IS NULL ORDER BY u.seq LIMIT 1)
RETURNING g.payload
