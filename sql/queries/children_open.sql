-- Children of a run that are open, with their parent's call. $1 run_id
SELECT c.run_id, c.priority, c.owner::oid, s.request->>'on_parent_end'
FROM wf_internal.runs c
JOIN wf_internal.steps s ON s.run_id = c.parent_run_id AND s.n = c.parent_n
WHERE c.parent_run_id = $1 AND c.finished_at IS NULL
