-- The next runs and branches of a role behind a place in the queue, best first. The row lock is the claim. $1 owner, $2 how
-- many, $3 runs to leave out, $4 and $5 priority and seq of the place, $6 runs to leave out with their branches
SELECT q.ctid, q.run_id, q.priority, q.seq, q.n, q.item
FROM wf_internal.ready q
WHERE q.owner = $1::oid AND (q.priority, q.seq) > ($4, $5) AND (q.n IS NOT NULL OR q.run_id <> ALL ($3))
  AND q.run_id <> ALL ($6)
ORDER BY q.owner, q.priority, q.seq
LIMIT $2
FOR UPDATE SKIP LOCKED
