-- Is anything ready beside one run's own turn, behind a place in the queue? $1 owner, $2 run_id, $3 and $4 priority and seq
SELECT true FROM wf_internal.ready q
WHERE q.owner = $1::oid AND (q.priority, q.seq) > ($3, $4) AND (q.run_id <> $2 OR q.n IS NOT NULL)
LIMIT 1
