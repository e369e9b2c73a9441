-- A function or procedure with its input parameters. $1 oid, $2 role
SELECT n.nspname::text, p.proname::text, pg_catalog.pg_get_function_identity_arguments(p.oid), p.prokind::text,
       p.proretset, p.pronargs::integer, p.pronargdefaults::integer, p.provariadic <> 0,
       pg_catalog.has_function_privilege($2, p.oid, 'EXECUTE'), p.proowner,
       coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                            'name', coalesce(p.proargnames[a.i], ''),
                            'type', pg_catalog.format_type(a.t, NULL),
                            'mode', coalesce(p.proargmodes[a.i]::text, 'i'),
                            'pseudo', t.typtype = 'p' AND a.t <> 'pg_catalog.record'::pg_catalog.regtype)
                        ORDER BY a.i)
                 FROM pg_catalog.unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY AS a(t, i)
                 JOIN pg_catalog.pg_type t ON t.oid = a.t), '[]'),
       p.oid::pg_catalog.regprocedure::text,
       p.prorettype = ANY ('{trigger,event_trigger,internal,language_handler,fdw_handler,tsm_handler,index_am_handler,table_am_handler}'::pg_catalog.regtype[])
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.oid = $1
