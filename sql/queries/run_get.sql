-- The whole of an instance for wf_get. $1 run_id
SELECT pg_catalog.jsonb_build_object(
           'id', r.id, 'workflow', d.workflow, 'version', d.version, 'status', r.status,
           'waiting_for', r.waiting_for, 'input', r.input, 'result', r.result, 'error', r.error,
           'values', (SELECT pg_catalog.jsonb_object_agg(s.name, s.result ORDER BY s.n)
                      FROM wf_internal.steps s WHERE s.run_id = r.run_id AND s.kind = 'set'),
           'owner', r.owner::text, 'priority', r.priority, 'run', r.seq, 'run_id', r.run_id,
           'created_at', r.created_at, 'started_at', r.started_at, 'finished_at', r.finished_at,
           'deadline', r.deadline)
FROM wf_internal.runs r
JOIN wf_internal.definitions d USING (def_id)
WHERE r.run_id = $1
