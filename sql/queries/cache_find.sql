-- $1 owner, $2 key, $3 now
SELECT c.result, c.stored_at FROM wf_internal.cache c
WHERE c.owner = $1::oid AND c.key = $2 AND (c.expires_at IS NULL OR c.expires_at > $3)
