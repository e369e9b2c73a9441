-- Calls that run side by side: begun and awaited, maps over arrays and queries, and what happens when some of them fail.
-- Whether an error's context names the expression depends on how steps share transactions.
\set SHOW_CONTEXT never
CREATE FUNCTION double(x int) RETURNS int LANGUAGE sql AS 'SELECT 2 * x';
CREATE FUNCTION invert(x int) RETURNS numeric LANGUAGE sql AS 'SELECT trunc(1.0 / x, 3)';
CREATE TABLE notes (id serial, note text);

CREATE FUNCTION pair(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE a int; b int; results jsonb;
BEGIN
    a := wf_begin('a', 'double', '{"x": 1}');
    b := wf_begin('b', 'double', '{"x": 2}');
    RETURN jsonb_build_array(wf_await(b), wf_await(a));
END $$;
SELECT wf_start('pair', id => 'pair');
SELECT wf_result('pair', wait => '10 s');
SELECT n, name, kind, status, result FROM wf.steps WHERE id = 'pair' AND kind = 'step' ORDER BY n;
SELECT n, name, item, status, attempt, result FROM wf.branches WHERE id = 'pair' ORDER BY n;

-- All of several, with outcomes: a failure hides no result.
CREATE FUNCTION outcomes(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_await(ARRAY[wf_begin('good', 'invert', '{"x": 4}'), wf_begin('bad', 'invert', '{"x": 0}')]);
END $$;
SELECT wf_start('outcomes', id => 'outcomes');
SELECT e->'handle' AS handle, e->'name' AS name, e->'ok' AS ok, e->'result' AS result, e->'error'->>'message' AS error
FROM jsonb_array_elements(wf_result('outcomes', wait => '10 s')) e;

-- One of them raises its own error where it is awaited, and can be caught.
CREATE FUNCTION catches(input jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_await(wf_begin('bad', 'invert', '{"x": 0}'));
EXCEPTION WHEN division_by_zero THEN
    RETURN 'caught ' || SQLERRM;
END $$;
SELECT wf_start('catches', '{}', id => 'catches');
SELECT wf_result('catches', wait => '10 s');

-- The first of several: a signal, a timer.
CREATE FUNCTION race(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE answer int := wf_begin('answer', signal => 'go'); day int := wf_begin('day', sleep => '1 day'); done jsonb;
BEGIN
    done := wf_await(ARRAY[answer, day], first => 1);
    RETURN done->0->'result';
END $$;
SELECT wf_start('race', id => 'race');
SELECT wf_signal('race', 'go', '"now"');
SELECT wf_result('race', wait => '10 s');
SELECT name, kind, status FROM wf.steps WHERE id = 'race' ORDER BY n;

-- A timeout: the call goes on.
CREATE FUNCTION patient(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE answer int := wf_begin('answer', signal => 'go'); first jsonb;
BEGIN
    first := wf_await(ARRAY[answer], timeout => '10 ms');
    BEGIN
        PERFORM wf_await(answer, timeout => '10 ms');
    EXCEPTION WHEN SQLSTATE 'WF004' THEN
        PERFORM wf_set('error', to_jsonb(SQLERRM));
    END;
    RETURN jsonb_build_array(first, wf_await(answer));
END $$;
SELECT wf_start('patient', id => 'patient');
DO $$ BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN wf_get('patient', 'error') IS NOT NULL;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT wf_signal('patient', 'go', '1');
SELECT wf_result('patient', wait => '10 s'), wf_get('patient', 'error');

-- Maps.
CREATE FUNCTION doubles(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_map('double', 'double', input->'items', max_parallel => 2);
END $$;
SELECT wf_start('doubles', '{"items": [{"x": 1}, {"x": 2}, {"x": 3}, {"x": 4}, {"x": 5}]}', id => 'doubles');
SELECT wf_result('doubles', wait => '10 s');
SELECT wf_start('doubles', '{"items": []}', id => 'none');
SELECT wf_result('none', wait => '10 s');

CREATE FUNCTION from_rows(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_map('note', $sql$ INSERT INTO notes (note) VALUES ($1 #>> '{}') RETURNING note $sql$,
                  query => 'SELECT i FROM generate_series(1, ($1->>''count'')::int) i UNION ALL SELECT 7 ORDER BY i', input => input);
END $$;
SELECT wf_start('from_rows', '{"count": 3}', id => 'from_rows');
SELECT wf_result('from_rows', wait => '10 s');

CREATE FUNCTION tolerant(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_map('invert', 'invert', '[{"x": 1}, {"x": 0}, {"x": 2}]', tolerate => (input->>'tolerate')::int);
END $$;
SELECT wf_start('tolerant', '{"tolerate": 1}', id => 'tolerant');
SELECT e->'ok' AS ok, e->'result' AS result, e->'error'->>'sqlstate' AS sqlstate
FROM jsonb_array_elements(wf_result('tolerant', wait => '10 s')) e;
SELECT wf_start('tolerant', id => 'strict');
SELECT wf_result('strict', wait => '10 s');
SELECT item, status FROM wf.branches WHERE id = 'strict' AND item < 3 ORDER BY item;

-- A workflow does not end before what it has begun.
CREATE FUNCTION forgets(input jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_begin('note', $sql$ INSERT INTO notes (note) VALUES ('forgotten') $sql$);
    RETURN 'done';
END $$;
SELECT wf_start('forgets', '{}', id => 'forgets');
SELECT wf_result('forgets', wait => '10 s');
SELECT note FROM notes ORDER BY note;

-- Wrong use.
CREATE FUNCTION wrong(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE h int;
BEGIN
    CASE input->>'case'
        WHEN 'nothing' THEN h := wf_begin('x');
        WHEN 'two' THEN h := wf_begin('x', 'double', sleep => '1 s');
        WHEN 'handle' THEN RETURN wf_await(17);
        WHEN 'first' THEN RETURN wf_await(ARRAY[wf_begin('x', sleep => '1 s')], first => 2);
        WHEN 'items' THEN RETURN wf_map('x', 'double', '{"x": 1}');
        WHEN 'no items' THEN RETURN wf_map('x', 'double');
        WHEN 'query' THEN RETURN wf_map('x', 'double', query => 'SELEC 1');
        WHEN 'no rows' THEN RETURN wf_map('x', 'double', query => 'SET work_mem = 1000');
        WHEN 'limit' THEN RETURN wf_map('x', 'double', '[]', max_parallel => 0);
        WHEN 'empty' THEN RETURN wf_await('{}'::int[]);
    END CASE;
    RETURN wf_await(h);
END $$;
SELECT wf_start('wrong', jsonb_build_object('case', c), id => c)
FROM unnest('{nothing,two,handle,first,items,no items,query,no rows,limit,empty}'::text[]) c;
SELECT wf_result('nothing', wait => '10 s');
SELECT wf_result('two', wait => '10 s');
SELECT wf_result('handle', wait => '10 s');
SELECT wf_result('first', wait => '10 s');
SELECT wf_result('items', wait => '10 s');
SELECT wf_result('no items', wait => '10 s');
SELECT wf_result('query', wait => '10 s');
SELECT wf_result('no rows', wait => '10 s');
SELECT wf_result('limit', wait => '10 s');
SELECT wf_result('empty', wait => '10 s');
SELECT wf_begin('x', 'double');
SELECT wf_await(1);
