-- The definition of a function, and what tells versions apart. $1 oid
SELECT s.source, pg_catalog.md5(s.source)
FROM (SELECT pg_catalog.pg_get_functiondef($1)) AS s(source)
