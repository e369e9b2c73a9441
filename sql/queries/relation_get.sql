-- Qualified name of a relation whose rows may change behind a workflow's back. $1 oid
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = $1 AND c.relkind IN ('r', 'p', 'm', 'f', 'v') AND c.relpersistence <> 't'
  AND n.nspname <> ALL ('{pg_catalog,information_schema,pg_toast,wf,wf_internal}'::pg_catalog.name[])
