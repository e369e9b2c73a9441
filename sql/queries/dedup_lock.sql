-- $1 queue_id, $2 key, $3 run_id, $4 n
SELECT d.joined FROM wf_internal.dedup d
WHERE d.queue_id = $1 AND NOT d.inside AND d.key = $2 AND d.run_id = $3 AND d.n = $4
FOR UPDATE
