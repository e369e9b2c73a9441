-- The next runs of a role, best first. The row lock is the claim. $1 owner, $2 how many, $3 runs to leave out
SELECT q.ctid, q.run_id
FROM wf_internal.ready q
WHERE q.owner = $1::oid AND q.run_id <> ALL ($3)
ORDER BY q.owner, q.priority, q.seq
LIMIT $2
FOR UPDATE SKIP LOCKED
