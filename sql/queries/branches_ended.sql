-- How many of the first items of a map have ended, and how many of them without a result. $1 run_id, $2 n, $3 number of items
SELECT pg_catalog.count(*)::integer, (pg_catalog.count(*) FILTER (WHERE b.status <> 'completed'))::integer
FROM wf_internal.branches b
WHERE b.run_id = $1 AND b.n = $2 AND b.item <= $3 AND b.finished_at IS NOT NULL
