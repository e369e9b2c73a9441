-- $1 run_id, $2 n, $3 item
DELETE FROM wf_internal.commands c WHERE c.run_id = $1 AND c.n = $2 AND c.item = $3
