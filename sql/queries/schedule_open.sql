-- Those of some instances that are open. $1 ids
SELECT i.id FROM pg_catalog.unnest($1) AS i(id)
WHERE EXISTS (SELECT FROM wf_internal.runs r WHERE r.id = i.id AND r.finished_at IS NULL)
