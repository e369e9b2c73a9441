-- $1 workflow, $2 owner, $3 completed, $4 failed, $5 set_by, $6 set_at
INSERT INTO wf_internal.retention_rules AS o (set_at, completed, failed, owner, set_by, workflow)
VALUES ($6, $3, $4, $2, $5, $1)
ON CONFLICT ((coalesce(owner::oid, 0)), (coalesce(workflow, ''))) DO UPDATE
SET set_at = excluded.set_at, completed = excluded.completed, failed = excluded.failed, set_by = excluded.set_by
