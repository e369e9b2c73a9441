-- $1 run_id, $2 n, $3 what an open map says of itself
UPDATE wf_internal.steps SET result = $3 WHERE run_id = $1 AND n = $2
