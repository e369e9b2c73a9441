-- The pause of a run, its own first, in words. As wf.workflows has it. $1 run_id
SELECT p.waiting_for
FROM wf_internal.runs r
JOIN wf_internal.definitions d USING (def_id)
JOIN wf_internal.pauses p
  ON p.run_id = r.run_id
  OR p.run_id IS NULL AND (p.owner IS NULL OR p.owner = r.owner) AND (p.workflow IS NULL OR p.workflow = d.workflow)
WHERE r.run_id = $1 AND r.finished_at IS NULL
ORDER BY p.run_id, p.pause_id
LIMIT 1
