-- Takes a run again behind a commit in the middle of its turn. $1 run_id
SELECT r.xmin, EXISTS (SELECT FROM wf_internal.controls c WHERE c.run_id = r.run_id)
FROM wf_internal.runs r
WHERE r.run_id = $1
FOR NO KEY UPDATE OF r SKIP LOCKED
