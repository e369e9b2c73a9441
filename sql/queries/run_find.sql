-- What senders need of the open run of an id, or of its last one. $1 id
SELECT r.run_id, r.owner::oid, r.priority, r.status
FROM wf_internal.runs r
WHERE r.id = $1
ORDER BY r.seq DESC
LIMIT 1
