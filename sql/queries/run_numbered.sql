-- A run of an id: the one with a number, or the open or last one. $1 id, $2 its number or NULL
SELECT r.run_id, r.seq, r.owner::oid FROM wf_internal.runs r
WHERE r.id = $1 AND ($2 IS NULL OR r.seq = $2)
ORDER BY r.seq DESC
LIMIT 1
