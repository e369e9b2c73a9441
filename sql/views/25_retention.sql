SET LOCAL search_path = pg_catalog, pg_temp;
-- Two views: what is to happen, and whether it does. The second counts over all roles, as wf_health() does.
CREATE VIEW wf.retention_rules WITH (security_barrier) AS
    SELECT r.workflow, r.owner,
           pg_catalog.justify_hours(r.completed * interval '1 microsecond') AS completed,
           pg_catalog.justify_hours(coalesce(r.failed, r.completed) * interval '1 microsecond') AS failed,
           r.set_by, r.set_at
    FROM wf_internal.retention_rules r
    WHERE r.owner IS NULL OR (SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(r.owner::oid, 'USAGE');
COMMENT ON VIEW wf.retention_rules IS 'how long instances are kept after their end, where pg_workflow.retention does not count: of a workflow (NULL: of every one) and of a role (NULL: of every one)';

CREATE VIEW wf.retention WITH (security_barrier) AS
    SELECT (f.facts->>'purge')::boolean AS enabled,
           pg_catalog.justify_hours((f.facts->>'retention')::bigint * interval '1 microsecond') AS retention,
           (SELECT pg_catalog.count(*) FROM wf_internal.retention_rules) AS rules,
           s.swept_at, s.next_at,
           CASE WHEN (f.facts->>'purge')::boolean AND wf_internal.is_home()
                THEN greatest(pg_catalog.now() - s.next_at, interval '0') END AS behind,
           coalesce(s.last_removed, 0) AS last_removed, coalesce(s.removed, 0) AS removed
    FROM (SELECT wf_internal.facts() AS facts) AS f
    LEFT JOIN wf_internal.sweeps s ON true;
COMMENT ON VIEW wf.retention IS 'the background purge: the age at which instances are removed where no rule says another (NULL: never), when it last came to its end, when it is due next, how long it has been due (NULL: it is switched off, or waits for wf_adopt()), and how many runs it has removed';

GRANT SELECT ON wf.retention_rules, wf.retention TO PUBLIC;
