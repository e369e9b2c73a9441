-- The first and the last rows of a run's timeline, with the number of all. $1 run_id, $2 how many of each
SELECT t.nr, t.parent, t.kind, t.name, t.status, t.attempts, (t.detail->>'occurrence')::integer, (t.detail->>'item')::integer,
       t.started_at, t.finished_at, coalesce(t.detail->>'due_at', t.detail->>'next_attempt_at')::timestamptz,
       t.detail->>'error', t.detail->>'child',
       nullif(pg_catalog.concat_ws(', ', 'by ' || (t.detail->>'by'), t.detail->>'reason',
                                   CASE WHEN t.detail ? 'cached' THEN 'from the cache' END), ''),
       t.total
FROM (SELECT v.*, count(*) OVER () AS total FROM wf.timeline v WHERE v.run_id = $1) AS t
WHERE t.nr <= $2 OR t.nr > t.total - $2
ORDER BY t.nr
