-- $1 run_id, $2 n, $3 kind, $4 status, $5 name, $6 occurrence, $7 attempt, $8 result, $9 error,
-- $10 started_at, $11 finished_at, $12 due_at, $13 begun, $14 request
INSERT INTO wf_internal.steps
    (started_at, finished_at, due_at, run_id, n, occurrence, attempt, begun, kind, status, name, request, result, error)
VALUES ($10, $11, $12, $1, $2, $6, $7, $13, $3, $4, $5, $14, $8, $9)
