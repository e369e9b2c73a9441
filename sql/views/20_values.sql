SET LOCAL search_path = pg_catalog, pg_temp;
-- What instances have emitted. As the views of 10_views.sql.

CREATE VIEW wf.streams WITH (security_barrier) AS
    SELECT r.id, s.name, s.n::bigint AS seq, s.result AS value, s.started_at AS at,
           d.workflow, r.seq AS run, s.run_id
    FROM wf_internal.steps s
    JOIN wf_internal.runs r USING (run_id)
    JOIN wf_internal.definitions d USING (def_id)
    WHERE s.kind = 'emit' AND ((SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(r.owner::oid, 'USAGE'));
COMMENT ON VIEW wf.streams IS 'what instances have appended to their streams by wf_emit, in order of seq within a run';

GRANT SELECT ON wf.streams TO PUBLIC;
