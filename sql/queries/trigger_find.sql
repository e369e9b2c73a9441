-- The function behind a trigger that wf_on has made, if that is all the function is for. $1 table, $2 name
SELECT n.nspname::text, p.proname::text
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE t.tgrelid = $1 AND t.tgname = $2 AND NOT t.tgisinternal AND t.tgparentid = 0
  AND p.prosrc LIKE '-- Made by wf_on%'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger o WHERE o.tgfoid = p.oid AND o.oid <> t.oid AND o.tgparentid = 0)
