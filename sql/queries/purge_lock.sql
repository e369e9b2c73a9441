-- Finished runs that may go, oldest first. Run ids are ordered by time, so that those of runs that ended before a time come
-- first. The first run of an id stays as long as there are later ones: a start finds by it that the id is taken.
-- $1 role, $2 workflow or NULL, $3 finished before, $4 run ids before, $5 how many, $6 of all roles
SELECT r.run_id
FROM wf_internal.runs r
WHERE r.run_id < $4 AND r.finished_at < $3
  AND ($6 OR pg_catalog.pg_has_role($1, r.owner::oid, 'USAGE'))
  AND ($2 IS NULL OR (SELECT d.workflow FROM wf_internal.definitions d WHERE d.def_id = r.def_id) = $2)
  AND (r.seq > 1 OR (SELECT l.seq FROM wf_internal.runs l WHERE l.id = r.id ORDER BY l.seq DESC LIMIT 1) = 1)
ORDER BY r.run_id
LIMIT $5
FOR UPDATE OF r SKIP LOCKED
