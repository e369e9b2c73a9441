-- $1 name, $2 owner, $3 target, $4 options
INSERT INTO wf_internal.workflows (name, owner, target, options) VALUES ($1, $2, $3, $4)
ON CONFLICT (name, owner) DO UPDATE
SET target = excluded.target, options = excluded.options, defined_at = pg_catalog.now()
