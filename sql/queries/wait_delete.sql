-- $1 run_id, $2 n
DELETE FROM wf_internal.waits w WHERE w.run_id = $1 AND w.n = $2 RETURNING w."default"
