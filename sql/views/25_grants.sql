SET LOCAL search_path = pg_catalog, pg_temp;
-- Everybody may read this in pg_proc.
CREATE VIEW wf.grants WITH (security_barrier) AS
    SELECT CASE WHEN a.grantee = 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END AS role,
           pg_catalog.substring(p.proname::text, 5) AS privilege, pg_catalog.pg_get_userbyid(a.grantor)::text AS granted_by
    FROM pg_catalog.pg_proc p
    CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
    WHERE p.oid IN ('wf_internal.may_use()'::regprocedure, 'wf_internal.may_view()'::regprocedure,
                    'wf_internal.may_operate()'::regprocedure)
      AND a.grantee <> p.proowner;
COMMENT ON VIEW wf.grants IS 'privileges given by wf_grant; superusers have all without';

GRANT SELECT ON wf.grants TO PUBLIC;
