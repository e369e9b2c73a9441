-- Children of a call that are open. $1 run_id, $2 n
SELECT c.run_id FROM wf_internal.runs c
WHERE c.parent_run_id = $1 AND c.parent_n = $2 AND c.finished_at IS NULL
