-- $1 run_id
DELETE FROM wf_internal.answers a WHERE a.run_id = $1 RETURNING a.n, a.item, a.status, a.result, a.error
