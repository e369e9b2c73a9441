-- $1 run_id, $2 def_id
UPDATE wf_internal.runs SET def_id = $2 WHERE run_id = $1
