-- How far a run has come: calls recorded, and attempts made of them. $1 run_id
SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(s.attempt), 0)::bigint FROM wf_internal.steps s WHERE s.run_id = $1
