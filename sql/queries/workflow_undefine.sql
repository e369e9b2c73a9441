-- $1 name, $2 role
DELETE FROM wf_internal.workflows w
WHERE w.name = $1 AND pg_catalog.pg_has_role($2, w.owner::oid, 'USAGE')
RETURNING true
