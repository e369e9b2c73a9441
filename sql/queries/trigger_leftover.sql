-- True if there is a function of wf_on's whose table is gone. $1 schema, $2 name
SELECT true
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = $1 AND p.proname = $2 AND p.pronargs = 0
  AND p.prosrc LIKE '-- Made by wf_on%'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgfoid = p.oid)
