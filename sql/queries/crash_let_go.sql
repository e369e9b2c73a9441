-- $1 run_id
UPDATE wf_internal.crashes SET until = NULL, pause_id = NULL WHERE run_id = $1
