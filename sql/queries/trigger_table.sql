-- A table whose rows a trigger may be on. $1 oid
SELECT n.nspname::text, c.relname::text, c.relkind IN ('r', 'p', 'f')
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = $1
