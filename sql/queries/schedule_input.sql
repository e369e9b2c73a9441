-- An input that says which tick it is for. $1 input, $2 key, $3 tick
SELECT $1 || pg_catalog.jsonb_build_object($2, $3)
