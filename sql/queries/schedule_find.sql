-- Schedules of a name that a role may control, or of all roles, its own first. $1 name, $2 role, $3 of this owner only, $4 all
SELECT s.schedule_id, s.owner::oid
FROM wf_internal.schedules s
WHERE s.name = $1 AND ($3 IS NULL OR s.owner = $3) AND ($4 OR pg_catalog.pg_has_role($2, s.owner::oid, 'USAGE'))
ORDER BY s.owner = $2 DESC
