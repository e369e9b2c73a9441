-- Waits for turns that park runs under the pause. $1 owner, $2 workflow
DELETE FROM wf_internal.pauses p
WHERE p.run_id IS NULL AND coalesce(p.owner::oid, 0) = coalesce($1, 0) AND coalesce(p.workflow, '') = coalesce($2, '')
RETURNING p.pause_id
