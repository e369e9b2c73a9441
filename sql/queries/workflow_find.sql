-- A name given by wf_define: the caller's own first, then of roles whose privileges it has, then of superusers. Names
-- given by strangers are not found: they would make the caller run a stranger's code. $1 name, $2 role
SELECT w.target, w.options
FROM wf_internal.workflows w
JOIN pg_catalog.pg_authid a ON a.oid = w.owner
WHERE w.name = $1 AND (pg_catalog.pg_has_role($2, a.oid, 'USAGE') OR a.rolsuper)
ORDER BY a.oid = $2 DESC, a.rolsuper, w.defined_at
LIMIT 1
