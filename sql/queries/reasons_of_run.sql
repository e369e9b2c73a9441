-- $1 run_id
SELECT pg_catalog.jsonb_agg(r.reason ORDER BY r.nr)
FROM wf_internal.reasons($1, 0) WITH ORDINALITY AS r(reason, nr)
