-- The function of a definition as it is now. $1 schema, $2 name, $3 identity arguments
SELECT p.oid
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = $1 AND p.proname = $2 AND pg_catalog.pg_get_function_identity_arguments(p.oid) = $3
  AND p.prokind <> 'a'
