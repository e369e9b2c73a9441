-- $1 run_id
DELETE FROM wf_internal.crashes WHERE run_id = $1
