-- A step that runs beside its run. $1 run_id, $2 n
INSERT INTO wf_internal.branches (run_id, n, item, attempt, status) VALUES ($1, $2, 1, 0, 'pending')
