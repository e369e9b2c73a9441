-- Schedules of a name that a role may control, its own first. $1 name, $2 role, $3 of this owner only
SELECT s.schedule_id, s.owner::oid
FROM wf_internal.schedules s
WHERE s.name = $1 AND ($3 IS NULL OR s.owner = $3) AND pg_catalog.pg_has_role($2, s.owner::oid, 'USAGE')
ORDER BY s.owner = $2 DESC
