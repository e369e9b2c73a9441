-- The pause that keeps the tasks of a run from being claimed. $1 run_id
SELECT p.pause_id
FROM wf_internal.runs r
JOIN wf_internal.definitions d ON d.def_id = r.def_id
JOIN wf_internal.pauses p
  ON p.run_id = r.run_id
  OR (p.run_id IS NULL AND (p.owner IS NULL OR p.owner = r.owner) AND (p.workflow IS NULL OR p.workflow = d.workflow))
WHERE r.run_id = $1
  AND NOT EXISTS (SELECT FROM wf_internal.controls c WHERE c.run_id = r.run_id)
ORDER BY p.pause_id LIMIT 1
