SELECT e.extversion FROM pg_catalog.pg_extension e WHERE e.extname = 'pg_workflow'
