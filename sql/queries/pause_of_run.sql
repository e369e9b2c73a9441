-- The pause of a run, its own first, in words. As wf.workflows has it. $1 run_id
SELECT coalesce((SELECT p.waiting_for FROM wf_internal.pauses p WHERE p.run_id = $1),
                (SELECT p.waiting_for FROM wf_internal.pauses p
                 WHERE p.run_id IS NULL
                   AND (p.owner IS NULL OR p.owner = r.owner) AND (p.workflow IS NULL OR p.workflow = d.workflow)
                 ORDER BY p.pause_id LIMIT 1))
FROM wf_internal.runs r
JOIN wf_internal.definitions d USING (def_id)
WHERE r.run_id = $1 AND r.finished_at IS NULL
