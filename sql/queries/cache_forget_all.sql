-- $1 owner
DELETE FROM wf_internal.cache c WHERE c.owner = $1::oid
