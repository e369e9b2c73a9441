SET LOCAL search_path = pg_catalog, pg_temp;
-- As the others, from the side of those who are waited for. As fast as there are few waits, however many runs have ended.
CREATE VIEW wf.waiting WITH (security_barrier) AS
    SELECT r.id, d.workflow, w.name, w.prompt, w.since, w.due_at, w.schema, w."default", r.owner,
           pg_catalog.format('SELECT wf_signal(%L, %L, ''...'');', r.id, w.name) AS answer,
           w.run_id
    FROM wf_internal.waits w
    JOIN wf_internal.runs r USING (run_id)
    JOIN wf_internal.definitions d USING (def_id)
    WHERE (SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(r.owner::oid, 'USAGE');
COMMENT ON VIEW wf.waiting IS 'signals that instances wait for, with what to type to answer';

GRANT SELECT ON wf.waiting TO PUBLIC;
