-- Rows that this transaction has locked, and that nobody else touches: their places are theirs. $1 places
DELETE FROM wf_internal.ready q WHERE q.ctid = ANY ($1)
