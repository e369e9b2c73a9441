-- What a function is written in, its source with the lines that \sf+ shows, and its own search_path. $1 oid
SELECT l.lanname::text, coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc),
       (SELECT pg_catalog.substr(c.setting, 13) FROM pg_catalog.unnest(p.proconfig) AS c(setting)
        WHERE c.setting LIKE 'search\_path=%')
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE p.oid = $1
