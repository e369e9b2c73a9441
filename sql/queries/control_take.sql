-- $1 run_id
DELETE FROM wf_internal.controls c WHERE c.run_id = $1 RETURNING c.action, c.reason, c.seq
