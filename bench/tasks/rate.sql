-- At which rate tasks began in :seconds seconds, two seconds behind the first: by then the bucket that was full is empty, and
-- what has come in meanwhile too. And how many in any one second of these.
\set QUIET on
\pset tuples_only on
\pset format unaligned
\pset fieldsep '\t'

CREATE TEMP VIEW begun AS
SELECT at FROM (SELECT t.started_at AS at, min(t.started_at) OVER () + interval '2 s' AS since
                FROM wf_internal.tasks t JOIN wf_internal.queues q USING (queue_id)
                WHERE q.name = 'rated' AND t.started_at IS NOT NULL) AS t
WHERE at >= since AND at < since + make_interval(secs => :seconds);

SELECT 1, 'rate.per_s', count(*) / :seconds::float FROM begun;
SELECT 1, 'rate.error_percent', abs(100.0 * count(*) / (:rate * :seconds) - 100) FROM begun;
SELECT 1, 'rate.most_in_1_s', max(beside)
FROM (SELECT count(*) OVER (ORDER BY at RANGE BETWEEN CURRENT ROW AND interval '1 s' FOLLOWING) AS beside FROM begun) AS w;
