-- $1 owner, $2 priority, $3 sequence numbers
DELETE FROM wf_internal.ready q WHERE q.owner = $1::oid AND q.priority = $2 AND q.seq = ANY ($3)
