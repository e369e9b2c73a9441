-- $1 run ids
SELECT r.run_id FROM wf_internal.runs r WHERE r.run_id = ANY ($1)
