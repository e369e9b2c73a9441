-- Open runs of a workflow and an owner that still call its function, the newest first. $1 workflow, $2 owner, $3 how many
SELECT r.run_id
FROM wf_internal.runs r
WHERE r.finished_at IS NULL AND r.status <> 'compensating' AND r.owner = $2::oid
  AND (SELECT d.workflow FROM wf_internal.definitions d WHERE d.def_id = r.def_id) = $1
ORDER BY r.run_id DESC
LIMIT $3
