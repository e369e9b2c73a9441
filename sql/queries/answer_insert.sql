-- Nobody would take it if the run has been purged. $1 run_id, $2 n, $3 item, $4 status, $5 result, $6 error
INSERT INTO wf_internal.answers (run_id, n, item, status, result, error)
SELECT $1, $2, $3, $4, $5, $6 WHERE EXISTS (SELECT FROM wf_internal.runs r WHERE r.run_id = $1)
