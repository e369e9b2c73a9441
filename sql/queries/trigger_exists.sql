-- $1 table, $2 name
SELECT true FROM pg_catalog.pg_trigger t WHERE t.tgrelid = $1 AND t.tgname = $2
