-- A name given by wf_define: the caller's own, else a superuser's. Names given by others are not found, not even by those
-- who have their privileges: a superuser has everybody's, and would run whatever code they put behind a name.
-- $1 name, $2 role
SELECT w.target, w.options
FROM wf_internal.workflows w
JOIN pg_catalog.pg_authid a ON a.oid = w.owner
WHERE w.name = $1 AND (a.oid = $2 OR a.rolsuper)
ORDER BY a.oid = $2 DESC, w.defined_at
LIMIT 1
