-- $1 run_id, $2 run_id of the next run
UPDATE wf_internal.pauses SET run_id = $2 WHERE run_id = $1
