-- Leaves an entry alone that another transaction is removing. $1 owner, $2 key, $3 result, $4 stored_at, $5 expires_at
WITH free AS (
    SELECT c.key FROM wf_internal.cache c WHERE c.owner = $1::oid AND c.key = $2 FOR UPDATE SKIP LOCKED
)
INSERT INTO wf_internal.cache (stored_at, expires_at, owner, key, result)
SELECT $4, $5, $1, $2, $3
WHERE EXISTS (SELECT FROM free)
   OR NOT EXISTS (SELECT FROM wf_internal.cache c WHERE c.owner = $1::oid AND c.key = $2)
ON CONFLICT (owner, key) DO UPDATE
SET stored_at = excluded.stored_at, expires_at = excluded.expires_at, result = excluded.result
