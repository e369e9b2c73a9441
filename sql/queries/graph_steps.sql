-- How often the calls of a workflow came behind each other, in those of its last instances that a role may see. Values,
-- registrations, and waits for calls that go on beside are left out. Of the last runs of all workflows some are looked at, of a history the beginning; the edges that
-- were taken most often. $1 workflow, $2 role, $3 instances, $4 runs looked at, $5 calls of a history, $6 edges,
-- $7 the role may see those of all roles
WITH sample AS (
    SELECT r.run_id, r.status
    FROM (SELECT x.run_id, x.status, x.def_id, x.owner FROM wf_internal.runs x ORDER BY x.run_id DESC LIMIT $4) AS r
    JOIN wf_internal.definitions d USING (def_id)
    WHERE d.workflow = $1 AND ($7 OR pg_catalog.pg_has_role($2, r.owner::oid, 'USAGE'))
    ORDER BY r.run_id DESC
    LIMIT $3
), calls AS (
    SELECT c.n, c.kind, c.name, p.status,
           pg_catalog.lag(c.kind) OVER w AS before_kind, pg_catalog.lag(c.name) OVER w AS before_name, pg_catalog.lead(c.n) OVER w IS NULL AS is_last
    FROM sample p
    CROSS JOIN LATERAL (
        SELECT s.run_id, s.n, s.kind, s.name FROM wf_internal.steps s
        WHERE s.run_id = p.run_id AND s.n <= $5 AND s.kind NOT IN ('value', 'set', 'emit', 'await', 'compensation')
        OFFSET 0) AS c
    WINDOW w AS (PARTITION BY c.run_id ORDER BY c.n)
), edges AS (
    SELECT coalesce(c.before_kind, 'begin') AS from_kind, coalesce(c.before_name, '') AS from_name, c.kind, c.name, c.n
    FROM calls c
    UNION ALL
    SELECT c.kind, c.name, 'end', c.status, 2147483647
    FROM calls c
    WHERE c.is_last AND c.n < $5 AND c.status IN ('completed', 'failed', 'cancelled', 'continued')
    UNION ALL
    SELECT 'begin', '', 'end', p.status, 2147483647
    FROM sample p
    WHERE p.status IN ('completed', 'failed', 'cancelled', 'continued')
      AND NOT EXISTS (SELECT FROM wf_internal.steps s
                      WHERE s.run_id = p.run_id AND s.kind NOT IN ('value', 'set', 'emit', 'await', 'compensation'))
)
SELECT o.from_kind, o.from_name, o.kind, o.name, o.times, (SELECT pg_catalog.count(*) FROM sample)
FROM (SELECT e.from_kind, e.from_name, e.kind, e.name, pg_catalog.count(*) AS times, pg_catalog.min(e.n) AS n
      FROM edges e
      GROUP BY 1, 2, 3, 4
      ORDER BY times DESC, n
      LIMIT $6) AS o
ORDER BY o.n, o.times DESC, o.kind, o.name, o.from_kind, o.from_name
