-- $1 run_id, $2 n, $3 item
SELECT b.input FROM wf_internal.branches b WHERE b.run_id = $1 AND b.n = $2 AND b.item = $3
