-- Is a run closed, and does it stay so until this transaction ends? Waits for a retry of it, or a purge. $1 run_id
SELECT r.finished_at IS NOT NULL FROM wf_internal.runs r WHERE r.run_id = $1 FOR SHARE
