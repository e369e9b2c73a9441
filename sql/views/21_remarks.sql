SET LOCAL search_path = pg_catalog, pg_temp;
-- For who may see an instance at which it was found, or owns the function.
CREATE VIEW wf.remarks WITH (security_barrier) AS
    SELECT d.workflow, d.version, m.relation, min(m.first_seen) AS first_seen,
           (pg_catalog.array_agg(m.run_id ORDER BY m.first_seen))[1] AS run_id
    FROM wf_internal.remarks m
    JOIN wf_internal.definitions d USING (def_id)
    WHERE (SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(m.owner::oid, 'USAGE') OR pg_catalog.pg_has_role(d.proc_owner::oid, 'USAGE')
    GROUP BY d.workflow, d.version, m.relation;
COMMENT ON VIEW wf.remarks IS 'tables that versions of workflow functions were seen to read outside of steps';

GRANT SELECT ON wf.remarks TO PUBLIC;
