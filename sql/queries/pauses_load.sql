-- What is paused of a role; whether it has crashed the server. $1 owner
SELECT p.pause_id, p.run_id, p.workflow, EXISTS (SELECT FROM wf_internal.crashes c WHERE c.run_id = p.run_id AND c.pause_id = p.pause_id)
FROM wf_internal.pauses p
WHERE (p.owner IS NULL OR p.owner::oid = $1)
  AND (p.run_id IS NULL
       OR EXISTS (SELECT FROM wf_internal.runs r WHERE r.run_id = p.run_id AND r.finished_at IS NULL))
ORDER BY p.pause_id
