-- What is paused of a role. $1 owner
SELECT p.pause_id, p.run_id, p.workflow
FROM wf_internal.pauses p
WHERE (p.owner IS NULL OR p.owner::oid = $1)
  AND (p.run_id IS NULL
       OR EXISTS (SELECT FROM wf_internal.runs r WHERE r.run_id = p.run_id AND r.finished_at IS NULL))
ORDER BY p.pause_id
