-- The end of what had a key; how many have joined it. $1 queue_id, $2 inside, $3 key, $4 run_id, $5 n
DELETE FROM wf_internal.dedup d
WHERE d.queue_id = $1 AND d.inside = $2 AND d.key = $3 AND d.run_id = $4 AND d.n = $5
RETURNING d.joined
