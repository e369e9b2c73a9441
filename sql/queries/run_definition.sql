-- $1 run_id
SELECT r.def_id FROM wf_internal.runs r WHERE r.run_id = $1 FOR KEY SHARE
