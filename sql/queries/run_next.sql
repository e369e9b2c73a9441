-- The run that has gone on where this one was left. $1 run_id
SELECT next.run_id, next.owner::oid, next.priority, next.status
FROM wf_internal.runs r
JOIN wf_internal.runs next ON next.id = r.id AND next.seq = r.seq + 1
WHERE r.run_id = $1
