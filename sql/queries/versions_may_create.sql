-- $1 role
SELECT pg_catalog.has_schema_privilege($1, 'wf_versions', 'CREATE')
