-- $1 present
SELECT c.run_id, c.pause_id FROM wf_internal.crashes c WHERE c.until <= $1 AND c.pause_id IS NOT NULL
