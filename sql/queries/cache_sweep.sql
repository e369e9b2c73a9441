-- Removes some expired entries of a role. $1 owner, $2 now, $3 how many
DELETE FROM wf_internal.cache c
WHERE c.ctid = ANY (ARRAY(SELECT e.ctid FROM wf_internal.cache e
                          WHERE e.owner = $1::oid AND e.expires_at <= $2
                          ORDER BY e.owner, e.expires_at LIMIT $3 FOR UPDATE SKIP LOCKED))
