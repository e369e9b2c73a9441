-- Medians of what was measured, as a table and as JSON. The numbers (round, name, value) come on standard input.
CREATE TEMP TABLE measured (round integer NOT NULL, name text NOT NULL, value double precision NOT NULL, PRIMARY KEY (round, name));
\copy measured FROM pstdin

-- What follows from the others, within each round.
INSERT INTO measured
SELECT round, d.name, d.value
FROM (SELECT round, jsonb_object_agg(name, value) AS v FROM measured GROUP BY round) AS r,
     LATERAL (VALUES
        ('latency.bound_us',           2 * (v->>'commit_beside.p50_us')::float + 1000),
        ('start_1.adds_us',         (v->>'start_1.p50_us')::float - (v->>'commit_1.p50_us')::float),
        ('step.wal',                ((v->>'five_1.wal')::float - (v->>'one_1.wal')::float) / 4),
        ('queue_step.wal',          ((v->>'queue_5x1.wal')::float - (v->>'queue_1x1.wal')::float) / 4),
        ('step.us',                 ((v->>'five_1.us')::float - (v->>'one_1.us')::float) / 4),
        ('queue_step.us',           ((v->>'queue_5x1.us')::float - (v->>'queue_1x1.us')::float) / 4),
        ('chain_100.step_us',       (v->>'chain_100.us')::float / 100),
        ('chain_1000.step_us',      (v->>'chain_1000.us')::float / 1000),
        ('assigned_1000.step_us',   (v->>'assigned_1000.us')::float / 1000),
        ('proc_1000.step_us',       (v->>'proc_1000.us')::float / 1000),
        ('proc_10000.step_us',      (v->>'proc_10000.us')::float / 10000),
        ('five_2.steps_per_s',      5 * (v->>'five_2.per_s')::float),
        ('queue_5x2.steps_per_s',   5 * (v->>'queue_5x2.per_s')::float),
        ('one_1.rows',              (v->>'one_1.ins')::float + (v->>'one_1.upd')::float + (v->>'one_1.del')::float),
        ('queue_1x1.rows',          (v->>'queue_1x1.ins')::float + (v->>'queue_1x1.upd')::float + (v->>'queue_1x1.del')::float),
        ('five_1.rows',             (v->>'five_1.ins')::float + (v->>'five_1.upd')::float + (v->>'five_1.del')::float),
        ('queue_5x1.rows',          (v->>'queue_5x1.ins')::float + (v->>'queue_5x1.upd')::float + (v->>'queue_5x1.del')::float)
     ) AS d (name, value)
WHERE d.value IS NOT NULL;

-- Under an old snapshot the last drain counts.
INSERT INTO measured
SELECT 1, d.name, d.value
FROM (SELECT * FROM measured WHERE name = 'old_snapshot.per_s' ORDER BY round DESC LIMIT 1) AS l,
     LATERAL (VALUES ('old_snapshot.last_per_s', l.value), ('old_snapshot.before', (l.round - 1) * :backlog)) AS d (name, value);

CREATE TEMP VIEW median AS
SELECT name, percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS value, min(value), max(value)
FROM measured GROUP BY name;

-- A line a question. limit_on: what the target's number is about, the product's median or its ratio to the yardstick.
-- The ratio is the median of each round's: what else the machine does in a round slows both.
CREATE TEMP TABLE line (n integer GENERATED ALWAYS AS IDENTITY, question text, unit text, scale float, product text, yardstick text,
                        limit_on text, comparison text, bound float, target text);
INSERT INTO line (question, unit, scale, product, yardstick, limit_on, comparison, bound, target) VALUES
    ('one-row commits, 1 client',               '/s',    1,    NULL,                 'commit_1.per_s',     NULL, NULL, NULL, NULL),
    ('one-row commits, 8 clients',              '/s',    1,    NULL,                 'commit_8.per_s',     NULL, NULL, NULL, NULL),
    ('commit latency, p50',                     'ms',    1e-3, NULL,                 'commit_1.p50_us',    NULL, NULL, NULL, NULL),
    ('',                                        '',      1,    NULL,                 NULL,                 NULL, NULL, NULL, NULL),
    ('1-step workflows, 1 executor',            '/s',    1,    'one_1.per_s',        'queue_1x1.per_s',    'ratio', '>=', 0.5, '>= 0.5 x queue'),
    ('1-step workflows, 2 executors',           '/s',    1,    'one_2.per_s',        'queue_1x2.per_s',    'ratio', '>=', 0.5, '>= 0.5 x queue'),
    ('the same as a number',                    '/s',    1,    'one_2.per_s',        NULL,                 'product', '>=', 8000, '>= 8000 /s'),
    ('1-step workflows, 2 executors beside 1',   '/s',    1,    'one_2.per_s',        'one_1.per_s',        'ratio', '>=', 1.6, '>= 1.6 x 1'),
    ('1-step workflows, 4 executors',           '/s',    1,    'one_4.per_s',        'queue_1x2.per_s',    NULL, NULL, NULL, NULL),
    ('1-step workflows, 4 executors beside 2',   '/s',    1,    'one_4.per_s',        'one_2.per_s',        'ratio', '>=', 0.9, '>= 0.9 x 2'),
    ('1-step, target a function, 1 executor',   '/s',    1,    'one_function_1.per_s', 'queue_1x1.per_s',  NULL, NULL, NULL, NULL),
    ('1-step, queue with a handler for each job', '/s',  1,    'one_1.per_s',        'queue_1x1_guarded.per_s', NULL, NULL, NULL, NULL),
    ('5-step workflows, 1 executor',            '/s',    1,    'five_1.per_s',       'queue_5x1.per_s',    'ratio', '>=', 0.5, '>= 0.5 x queue'),
    ('5-step workflows, 2 executors',           '/s',    1,    'five_2.per_s',       'queue_5x2.per_s',    'ratio', '>=', 0.5, '>= 0.5 x queue'),
    ('steps of 5-step workflows, 2 executors',   '/s',    1,    'five_2.steps_per_s', 'queue_5x2.steps_per_s', 'product', '>=', 20000, '>= 20000 /s'),
    ('fan-out of :units beside 1-step workflows, 2 executors', '/s', 1, 'fan_out.per_s', 'one_2.per_s',   'ratio', '>=', 0.5, '>= 0.5 x 1-step'),
    ('  each begun by the workflow itself',      '/s',    1,    'fan_out_begun.per_s', 'one_2.per_s',   NULL, NULL, NULL, NULL),
    ('CPU of a 1-step workflow, drained',       'us',    1,    'one_1.cpu_us',       'queue_1x1.cpu_us',   NULL, NULL, NULL, NULL),
    ('CPU of a 5-step workflow, drained',       'us',    1,    'five_1.cpu_us',      'queue_5x1.cpu_us',   NULL, NULL, NULL, NULL),
    ('CPU of a start in bulk',                  'us',    1,    'one_1.start_cpu_us', 'queue_1x1.start_cpu_us', NULL, NULL, NULL, NULL),
    ('',                                        '',      1,    NULL,                 NULL,                 NULL, NULL, NULL, NULL),
    ('start to done, p50',                      'ms',    1e-3, 'latency.p50_us',        'commit_beside.p50_us', 'bound', '<=', NULL, '<= 2 x commit + 1 ms'),
    ('start to done, p99',                      'ms',    1e-3, 'latency.p99_us',        'commit_beside.p99_us', NULL, NULL, NULL, NULL),
    ('start to done, p99 beside p50',            'ms',    1e-3, 'latency.p99_us',     'latency.p50_us',     'ratio', '<=', 5, '<= 5 x p50'),
    ('commit of a start, p50, 1 client',        'ms',    1e-3, 'start_1.p50_us',     'commit_1.p50_us',    NULL, NULL, NULL, NULL),
    ('what the start adds to it',               'ms',    1e-3, 'start_1.adds_us',    NULL,                 'product', '<=', 200, '<= 0.2 ms'),
    ('committed starts, 8 clients',             '/s',    1,    'start_8.per_s',      'commit_8.per_s',     NULL, NULL, NULL, NULL),
    ('',                                        '',      1,    NULL,                 NULL,                 NULL, NULL, NULL, NULL),
    ('WAL of a 1-step workflow',                'bytes', 1,    'one_1.wal',          'queue_1x1.wal',      'product', '<=', 1536, '<= 1536 bytes'),
    ('  of that, its start',                    'bytes', 1,    'one_1.start_wal',    'queue_1x1.start_wal', NULL, NULL, NULL, NULL),
    ('WAL of each further step',                'bytes', 1,    'step.wal',           'queue_step.wal',     'product', '<=', 400, '<= 400 bytes'),
    ('full-page images',                        '',      1,    'one_1.fpi',          'queue_1x1.fpi',      NULL, NULL, NULL, NULL),
    ('transactions of a 1-step workflow, no start', '',  1,    'one_1.tx',           'queue_1x1.tx',       'product', '<=', 0.1, '<= 0.1'),
    ('transaction ids of a 1-step workflow',    '',      1,    'one_1.xid',          'queue_1x1.xid',      NULL, NULL, NULL, NULL),
    ('transaction ids of a 5-step workflow',    '',      1,    'five_1.xid',         'queue_5x1.xid',      NULL, NULL, NULL, NULL),
    ('rows written, 1 step',                    '',      1,    'one_1.rows',         'queue_1x1.rows',     'product', '<=', 6, '<= 6'),
    ('  inserted',                              '',      1,    'one_1.ins',          'queue_1x1.ins',      NULL, NULL, NULL, NULL),
    ('  updated',                               '',      1,    'one_1.upd',          'queue_1x1.upd',      NULL, NULL, NULL, NULL),
    ('  of these HOT',                          '',      1,    'one_1.hot',          'queue_1x1.hot',      NULL, NULL, NULL, NULL),
    ('  deleted',                               '',      1,    'one_1.del',          'queue_1x1.del',      NULL, NULL, NULL, NULL),
    ('rows written, 5 steps',                   '',      1,    'five_1.rows',        'queue_5x1.rows',     NULL, NULL, NULL, NULL),
    ('',                                        '',      1,    NULL,                 NULL,                 NULL, NULL, NULL, NULL),
    ('a 1-step workflow',                       'us',    1,    'one_1.us',           'queue_1x1.us',       NULL, NULL, NULL, NULL),
    ('each further step of 5, beside a 1-step workflow', 'us', 1, 'step.us',          'one_1.us',           NULL, NULL, NULL, NULL),
    ('each step of 100, the same',              'us',    1,    'chain_100.step_us',  'one_1.us',           'ratio', '<=', 1.5, '<= 1.5 x 1-step'),
    ('each step of 1000, the same',             'us',    1,    'chain_1000.step_us', 'one_1.us',           'ratio', '<=', 8, '<= 8 x 1-step'),
    ('each step of 1000, its result assigned, the same', 'us', 1, 'assigned_1000.step_us', 'one_1.us',   'ratio', '<=', 8, '<= 8 x 1-step'),
    ('each step of 1000 of a procedure, the same', 'us', 1,    'proc_1000.step_us',  'one_1.us',           'ratio', '<=', 1.5, '<= 1.5 x 1-step'),
    ('each step of 10000 of a procedure, the same', 'us', 1,   'proc_10000.step_us', 'one_1.us',           'ratio', '<=', 1.5, '<= 1.5 x 1-step'),
    ('',                                        '',      1,    NULL,                 NULL,                 NULL, NULL, NULL, NULL),
    ('idle for :idle_seconds s: transactions',  '',      1,    'idle.tx',            NULL,                 'product', '<=', 0, '0'),
    ('idle: wake-ups of our workers',           '',      1,    'idle.wakeups',       NULL,                 'product', '<=', 0, '0'),
    ('idle: CPU of our workers',                'ms',    1,    'idle.worker_cpu_ms', NULL,                 'product', '<=', 0, '0'),
    ('idle: CPU of the whole server',           'ms',    1,    'idle.cpu_ms',        NULL,                 NULL, NULL, NULL, NULL),
    (':sleepers asleep: transactions',          '',      1,    'idle_sleepers.tx',   NULL,                 'product', '<=', 0, '0'),
    (':sleepers asleep: wake-ups of our workers', '',    1,    'idle_sleepers.wakeups', NULL,              'product', '<=', 0, '0'),
    (':sleepers asleep: CPU of our workers',    'ms',    1,    'idle_sleepers.worker_cpu_ms', NULL,        'product', '<=', 0, '0'),
    (':sleepers asleep: CPU of the whole server', 'ms',  1,    'idle_sleepers.cpu_ms', NULL,               NULL, NULL, NULL, NULL),
    ('',                                        '',      1,    NULL,                 NULL,                 NULL, NULL, NULL, NULL),
    ('commit of a start beside :sleepers asleep, p50', 'ms', 1e-3, 'start_sleepers.p50_us', 'start_alone.p50_us', 'ratio', '<=', 1.2, '<= 1.2 x alone'),
    ('commit of a start, :finished finished too, p50', 'ms', 1e-3, 'start_finished.p50_us', 'start_alone.p50_us', 'ratio', '<=', 1.2, '<= 1.2 x alone'),
    ('a start in bulk beside :sleepers asleep', 'us',    1,    'one_1_sleepers.start_us', 'one_1_alone.start_us', 'ratio', '<=', 1.2, '<= 1.2 x alone'),
    ('a start in bulk, :finished finished too', 'us',    1,    'one_1_finished.start_us', 'one_1_alone.start_us', 'ratio', '<=', 1.2, '<= 1.2 x alone'),
    ('a 1-step workflow beside :sleepers asleep', 'us',  1,    'one_1_sleepers.us',  'one_1_alone.us',     'ratio', '<=', 1.2, '<= 1.2 x alone'),
    ('a 1-step workflow, :finished finished too', 'us',  1,    'one_1_finished.us',  'one_1_alone.us',     'ratio', '<=', 1.2, '<= 1.2 x alone'),
    ('CPU of a 1-step workflow beside :sleepers asleep', 'us', 1, 'one_1_sleepers.cpu_us', 'one_1_alone.cpu_us', NULL, NULL, NULL, NULL),
    ('CPU of a 1-step workflow, :finished finished too', 'us', 1, 'one_1_finished.cpu_us', 'one_1_alone.cpu_us', NULL, NULL, NULL, NULL),
    ('1-step workflows under a snapshot of :old_seconds s', '/s', 1, 'old_snapshot.last_per_s', 'no_snapshot.per_s', 'ratio', '>=', 0.5, '>= 0.5 x without'),
    ('  drained under it before',               '',      1,    'old_snapshot.before', NULL,                 NULL, NULL, NULL, NULL),
    ('one of :sleepers asleep: its end after it was due', 'ms', 1e-3, 'wake.late_us', NULL,                'product', '<=', 1e6, '<= 1 s'),
    (':due due in the same second: the last one''s end', 'ms', 1e-3, 'due.us',       NULL,                 NULL, NULL, NULL, NULL),
    (':due due in the same second, 2 executors', '/s',   1,    'due.per_s',          'one_2.per_s',        NULL, NULL, NULL, NULL);

UPDATE line SET question = replace(question, v.name, v.value)
FROM (VALUES (':idle_seconds', :'idle_seconds'), (':old_seconds', :'old_seconds'), (':units', :'units'), (':due', :'due'),
             (':sleepers', :'sleepers'), (':finished', :'finished')) AS v (name, value)
WHERE question LIKE '%' || v.name || '%';
UPDATE line SET bound = (SELECT value FROM median WHERE name = 'latency.bound_us') WHERE limit_on = 'bound';

CREATE FUNCTION pg_temp.shown(value double precision) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN abs(value) >= 100 THEN round(value::numeric)::text
                WHEN abs(value) >= 10 THEN round(value::numeric, 1)::text
                WHEN value = 0 THEN '0'
                ELSE round(value::numeric, 3)::text END
$$;

CREATE TEMP VIEW result AS
SELECT l.*, p.value AS product_median, p.min AS product_min, p.max AS product_max,
       y.value AS yardstick_median, y.min AS yardstick_min, y.max AS yardstick_max,
       r.ratio,
       CASE WHEN l.comparison = '>=' THEN t.tested >= l.bound WHEN l.comparison = '<=' THEN t.tested <= l.bound END AS reached
FROM line l
LEFT JOIN median p ON p.name = l.product
LEFT JOIN median y ON y.name = l.yardstick,
LATERAL (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY m.value / nullif(n.value, 0))
         FROM measured m JOIN measured n USING (round) WHERE m.name = l.product AND n.name = l.yardstick) AS r (ratio),
LATERAL (SELECT CASE l.limit_on WHEN 'ratio' THEN r.ratio ELSE p.value END) AS t (tested)
WHERE l.question = '' OR coalesce(p.value, CASE WHEN l.product IS NULL THEN y.value END) IS NOT NULL;

\echo
\echo pg_workflow beside its yardsticks: medians of :rounds rounds, backlog :backlog, on :machine, load now :load
\echo :library
\pset footer off
\pset null ''
\pset linestyle ascii
SELECT question AS "what", unit, pg_temp.shown(product_median * scale) AS pg_workflow,
       pg_temp.shown(yardstick_median * scale) AS yardstick, pg_temp.shown(ratio) AS ratio, target,
       CASE WHEN reached THEN 'yes' WHEN NOT reached THEN 'NO' END AS reached,
       CASE WHEN product_max > product_min
            THEN pg_temp.shown(product_min * scale) || ' .. ' || pg_temp.shown(product_max * scale) END AS spread
FROM result ORDER BY n;

\pset tuples_only on
\pset format unaligned
\o :json
SELECT jsonb_pretty(jsonb_build_object(
    'at', now(), 'server', version(), 'machine', :'machine', 'load', :'load', 'library', :'library',
    'extension', (SELECT default_version FROM pg_available_extensions WHERE name = 'pg_workflow'),
    'rounds', :rounds, 'backlog', :backlog,
    'lines', (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                  'what', trim(question), 'unit', nullif(unit, ''), 'pg_workflow', product_median * scale,
                  'yardstick', yardstick_median * scale, 'ratio', ratio, 'target', target, 'reached', reached)) ORDER BY n)
              FROM result WHERE question <> ''),
    'medians', (SELECT jsonb_object_agg(name, value) FROM median)));
\o
