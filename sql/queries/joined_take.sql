-- $1 queue_id, $2 key
DELETE FROM wf_internal.joined j WHERE j.queue_id = $1 AND j.key = $2 RETURNING j.run_id, j.n, j.priority
