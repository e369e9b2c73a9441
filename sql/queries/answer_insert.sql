-- $1 run_id, $2 n, $3 item, $4 status, $5 result, $6 error
INSERT INTO wf_internal.answers (run_id, n, item, status, result, error) VALUES ($1, $2, $3, $4, $5, $6)
