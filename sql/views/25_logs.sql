SET LOCAL search_path = pg_catalog, pg_temp;
-- What steps have raised below ERROR. As the views of 10_views.sql.

CREATE VIEW wf.logs WITH (security_barrier) AS
    SELECT r.id, l.seq, l.at, l.step, nullif(l.item, 0) AS item, l.attempt, l.severity, l.message, l.detail, l.hint, l.sqlstate,
           l.context, d.workflow, l.n, r.seq AS run, l.run_id
    FROM wf_internal.logs l
    JOIN wf_internal.runs r USING (run_id)
    JOIN wf_internal.definitions d USING (def_id)
    WHERE ((SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(r.owner::oid, 'USAGE'));
COMMENT ON VIEW wf.logs IS 'messages that steps have raised (NOTICE, WARNING and the like), in order of seq within a run';

GRANT SELECT ON wf.logs TO PUBLIC;
