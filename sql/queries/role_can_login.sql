-- $1 role
SELECT a.rolcanlogin FROM pg_catalog.pg_authid a WHERE a.oid = $1
