-- Items of a call that may run now. $1 owner, $2 priority, $3 run_id, $4 n, $5 first item, $6 last item
INSERT INTO wf_internal.ready (owner, priority, run_id, n, item)
SELECT $1, $2, $3, $4, i FROM pg_catalog.generate_series($5, $6) AS i
