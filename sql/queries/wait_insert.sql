-- $1 run_id, $2 n, $3 name, $4 since, $5 due_at, $6 prompt, $7 schema, $8 default
INSERT INTO wf_internal.waits (since, due_at, run_id, n, name, prompt, schema, "default")
VALUES ($4, $5, $1, $2, $3, $6, $7, $8)
