-- The open run of an id, or its last one. $1 id
SELECT r.run_id, r.seq, r.owner::oid, r.status, r.input, r.result, r.error, r.waiting_for,
       d.schema_name || '.' || d.proc_name || '(' || d.proc_args || ')', d.workflow
FROM wf_internal.runs r
JOIN wf_internal.definitions d USING (def_id)
WHERE r.id = $1
ORDER BY r.seq DESC
LIMIT 1
