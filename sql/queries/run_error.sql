-- $1 run_id
SELECT r.error FROM wf_internal.runs r WHERE r.run_id = $1
