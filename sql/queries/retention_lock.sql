-- Locks runs that are to go, if they were not opened again and nobody is at them. May it go? The first run of an id stays as
-- long as there are later ones. $1 run ids, $2 finished before
SELECT r.run_id,
       r.seq > 1 OR (SELECT l.seq FROM wf_internal.runs l WHERE l.id = r.id ORDER BY l.seq DESC LIMIT 1) = 1
FROM wf_internal.runs r
WHERE r.run_id = ANY ($1) AND r.finished_at < $2
FOR UPDATE OF r SKIP LOCKED
