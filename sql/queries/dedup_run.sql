-- The id of the run that is open under a key; NULL if it is no more. $1 queue_id, $2 key
SELECT r.id
FROM wf_internal.dedup d
LEFT JOIN wf_internal.runs r ON r.run_id = d.run_id AND r.finished_at IS NULL
WHERE d.queue_id = $1 AND d.inside AND d.key = $2
