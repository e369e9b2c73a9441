-- Roles with ready runs: one index probe a role, however many rows each has.
WITH RECURSIVE owners (owner) AS (
    (SELECT q.owner::oid FROM wf_internal.ready q ORDER BY q.owner LIMIT 1)
    UNION ALL
    SELECT (SELECT q.owner::oid FROM wf_internal.ready q WHERE q.owner > o.owner ORDER BY q.owner LIMIT 1)
    FROM owners o WHERE o.owner IS NOT NULL
)
SELECT o.owner FROM owners o WHERE o.owner IS NOT NULL
