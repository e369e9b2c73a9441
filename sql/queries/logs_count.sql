-- How many messages of a run are kept, up to a number. $1 run_id, $2 that number
SELECT pg_catalog.count(*)::integer FROM (SELECT FROM wf_internal.logs l WHERE l.run_id = $1 LIMIT $2) AS k
