-- $1 owner, $2 key
DELETE FROM wf_internal.cache c WHERE c.owner = $1::oid AND c.key = $2
