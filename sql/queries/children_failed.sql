-- Children of a call that have failed or were cancelled, the last run of each id. One that has undone its work is at its end; a
-- map has no other for the item. $1 run_id, $2 n
SELECT c.run_id FROM wf_internal.runs c
WHERE c.parent_run_id = $1 AND c.parent_n = $2 AND c.status IN ('failed', 'cancelled')
  AND (c.parent_item > 0 OR NOT coalesce(c.error ? 'compensated', false))
  AND NOT EXISTS (SELECT FROM wf_internal.runs x WHERE x.id = c.id AND x.seq = c.seq + 1)
