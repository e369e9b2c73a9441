-- Medians of what was measured, as a table and as JSON. The numbers (round, name, value) come on standard input.
\set QUIET on
CREATE TEMP TABLE measured (round integer NOT NULL, name text NOT NULL, value double precision, PRIMARY KEY (round, name));
\copy measured FROM pstdin

CREATE TEMP VIEW median AS
SELECT name, percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS value FROM measured GROUP BY name;

-- limit_on: what the target is about, the number itself or its ratio to the yardstick.
CREATE TEMP TABLE line (n integer GENERATED ALWAYS AS IDENTITY, question text, product text, yardstick text, limit_on text,
                        low float, high float, target text);
INSERT INTO line (question, product, yardstick, limit_on, low, high, target) VALUES
    ('tasks/s, :max at a time, beside read and delete', 'tasks_max.per_s', 'delete_max.per_s', NULL, NULL, NULL, NULL),
    ('tasks/s, :max at a time, beside read and archive', 'tasks_max.per_s', 'archive_max.per_s', NULL, NULL, NULL, NULL),
    ('tasks/s, one at a time, beside read and delete', 'tasks_1.per_s', 'delete_1.per_s', NULL, NULL, NULL, NULL),
    ('tasks/s, one at a time, beside read and archive', 'tasks_1.per_s', 'archive_1.per_s', NULL, NULL, NULL, NULL),
    (':done done and as many waiting: tasks/s, :max at a time', 'tasks_max_behind.per_s', 'archive_max_behind.per_s', NULL, NULL, NULL, NULL),
    (':done done and as many waiting: tasks/s, one at a time', 'tasks_1_behind.per_s', 'archive_1_behind.per_s', NULL, NULL, NULL, NULL),
    ('ten keys: tasks/s, 10 at a time', 'fair.per_s', NULL, NULL, NULL, NULL, NULL),
    ('  last claim of the smallest', 'fair.smallest_last', NULL, 'product', 1, 20, '<= 20'),
    ('  claims by which a last one is off round robin', 'fair.last_off', NULL, 'product', 0, 10, '<= 10'),
    ('rate of :rate/s: held, /s', 'rate.per_s', NULL, NULL, NULL, NULL, NULL),
    ('  error, percent', 'rate.error_percent', NULL, 'product', 0, 2, '<= 2'),
    ('  most in any one second', 'rate.most_in_1_s', NULL, NULL, NULL, NULL, NULL),
    ('soak: tasks, each done once', 'soak.tasks', NULL, NULL, NULL, NULL, NULL),
    ('  workers killed', 'soak.killed', NULL, 'product', 1, NULL, '>= 1'),
    ('  server killed or restarted', 'soak.restarts', NULL, 'product', 2, 2, '2'),
    ('  tasks that were lost and done again', 'soak.lost', NULL, 'product', 1, NULL, '>= 1'),
    ('  tasks/s, all that included', 'soak.per_s', NULL, NULL, NULL, NULL, NULL);
UPDATE line SET question = replace(replace(replace(question, ':max', :'max'), ':done', :'done'), ':rate', :'rate');

CREATE TEMP VIEW result AS
SELECT l.*, p.value, y.value AS beside, r.ratio,
       CASE WHEN l.target IS NOT NULL THEN p.value >= coalesce(l.low, '-Infinity') AND p.value <= coalesce(l.high, 'Infinity') END AS reached
FROM line l JOIN median p ON p.name = l.product LEFT JOIN median y ON y.name = l.yardstick,
LATERAL (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY m.value / nullif(n.value, 0))
         FROM measured m JOIN measured n USING (round) WHERE m.name = l.product AND n.name = l.yardstick) AS r (ratio);

CREATE FUNCTION pg_temp.shown(value double precision) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN abs(value) >= 100 OR value = round(value) THEN round(value::numeric)::text ELSE round(value::numeric, 2)::text END
$$;

\echo
\echo tasks and queues: medians of :rounds rounds, :workers workers, on :machine, load now :load
\echo :library
\pset footer off
\pset null ''
\pset linestyle ascii
SELECT question AS what, pg_temp.shown(value) AS pg_workflow, pg_temp.shown(beside) AS yardstick, round(ratio::numeric, 2) AS ratio,
       target, CASE WHEN reached THEN 'yes' WHEN NOT reached THEN 'NO' END AS reached
FROM result ORDER BY n;

\pset tuples_only on
\pset format unaligned
\o :json
SELECT jsonb_pretty(jsonb_build_object(
    'at', now(), 'server', version(), 'machine', :'machine', 'load', :'load', 'library', :'library', 'workers', :workers, 'rounds', :rounds,
    'lines', (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                  'what', trim(question), 'pg_workflow', value, 'yardstick', beside, 'ratio', ratio, 'target', target, 'reached', reached)) ORDER BY n)
              FROM result),
    'medians', (SELECT jsonb_object_agg(name, value) FROM median)));
\o

DO $$
DECLARE
    missed text := (SELECT string_agg(trim(question), '; ') FROM result WHERE NOT reached OR target IS NOT NULL AND reached IS NULL);
BEGIN
    IF missed IS NOT NULL THEN
        RAISE EXCEPTION 'not reached: %', missed;
    END IF;
END $$;
