-- $1 run_id, $2 n
SELECT t.attempt FROM wf_internal.tasks t WHERE t.run_id = $1 AND t.n = $2
