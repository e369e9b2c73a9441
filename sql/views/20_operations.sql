SET LOCAL search_path = pg_catalog, pg_temp;
CREATE VIEW wf.pauses WITH (security_barrier) AS
    SELECT r.id, p.workflow, p.owner, p.paused_at, p.paused_by, p.reason,
           (SELECT pg_catalog.count(*) FROM wf_internal.parked k WHERE k.pause_id = p.pause_id) AS parked
    FROM wf_internal.pauses p
    LEFT JOIN wf_internal.runs r USING (run_id)
    WHERE p.owner IS NULL OR (SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(p.owner::oid, 'USAGE');
COMMENT ON VIEW wf.pauses IS 'what is paused (an id, a workflow, or neither: everything; owner NULL: of every role), and how many instances would run if it were not';

CREATE VIEW wf.actions WITH (security_barrier) AS
    SELECT a.at, a.by, a.action, a.id, a.reason, a.detail, a.run_id
    FROM wf_internal.actions a
    WHERE (SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(a.owner::oid, 'USAGE')
    ORDER BY a.seq;
COMMENT ON VIEW wf.actions IS 'what operators have done to instances, and why';

GRANT SELECT ON wf.pauses, wf.actions TO PUBLIC;
