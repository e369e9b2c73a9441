-- $1 run_id, $2 next run_id
UPDATE wf_internal.controls SET run_id = $2 WHERE run_id = $1
