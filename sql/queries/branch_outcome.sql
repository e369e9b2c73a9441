-- What has become of a step that ran beside its run. $1 run_id, $2 n
SELECT b.result, b.error, b.attempt FROM wf_internal.branches b WHERE b.run_id = $1 AND b.n = $2 AND b.item = 1
