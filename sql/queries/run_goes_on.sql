-- $1 run_id
UPDATE wf_internal.runs SET status = CASE status WHEN 'waiting' THEN 'running' ELSE status END, waiting_for = NULL
WHERE run_id = $1
