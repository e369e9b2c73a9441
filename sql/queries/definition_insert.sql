-- The same code keeps its version; other code gets the next. $1 workflow, $2 schema_name, $3 proc_name, $4 proc_args,
-- $5 proc_owner, $6 source_md5, $7 source, $8 search_path, $9 options
INSERT INTO wf_internal.definitions
    (version, workflow, schema_name, proc_name, proc_args, proc_owner, source_md5, source, search_path, options)
SELECT coalesce((SELECT d.version FROM wf_internal.definitions d WHERE d.workflow = $1 AND d.source_md5 = $6 LIMIT 1),
                (SELECT pg_catalog.max(d.version) + 1 FROM wf_internal.definitions d WHERE d.workflow = $1),
                1),
       $1, $2, $3, $4, $5, $6, $7, $8, $9
RETURNING def_id, version
