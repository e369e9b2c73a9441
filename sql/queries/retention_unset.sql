-- $1 workflow, $2 owner
DELETE FROM wf_internal.retention_rules r
WHERE coalesce(r.owner::oid, 0) = coalesce($2, 0) AND coalesce(r.workflow, '') = coalesce($1, '')
