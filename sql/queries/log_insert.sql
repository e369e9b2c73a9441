-- $1 run_id, $2 n, $3 item, $4 attempt, $5 step, $6 at, $7 severity, $8 sqlstate, $9 message, $10 detail, $11 hint, $12 context
INSERT INTO wf_internal.logs (run_id, n, item, attempt, step, at, severity, sqlstate, message, detail, hint, context)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
