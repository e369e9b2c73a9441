-- As purge_lock.sql, one run. $1 role, $2 run, $3 of all roles
SELECT r.run_id
FROM wf_internal.runs r
WHERE r.run_id = $2 AND r.finished_at IS NOT NULL
  AND ($3 OR pg_catalog.pg_has_role($1, r.owner::oid, 'USAGE'))
  AND (r.seq > 1 OR (SELECT l.seq FROM wf_internal.runs l WHERE l.id = r.id ORDER BY l.seq DESC LIMIT 1) = 1)
FOR UPDATE OF r SKIP LOCKED
