-- $1 name, $2 role
DELETE FROM wf_internal.workflows w WHERE w.name = $1 AND w.owner::oid = $2 RETURNING true
