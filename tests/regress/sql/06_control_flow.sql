-- Loops, IF, blocks and handlers are ordinary code around steps and waits.
CREATE TABLE log (n int GENERATED ALWAYS AS IDENTITY, note text);
CREATE FUNCTION note(text text) RETURNS text LANGUAGE sql AS $$ INSERT INTO log (note) VALUES (text) RETURNING note $$;

-- A loop calls the same name again: each time is an occurrence of its own.
CREATE FUNCTION looping(times int) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    sum int := 0;
    one jsonb;
BEGIN
    FOR i IN 1..times LOOP
        one := wf_step('square', 'SELECT ($1->>''i'')::int * ($1->>''i'')::int', jsonb_build_object('i', i));
        sum := sum + (one->>0)::int;
        CONTINUE WHEN i % 2 = 0;
        PERFORM wf_step('odd', 'note', jsonb_build_object('text', 'odd ' || i));
    END LOOP;
    RETURN sum;
END $$;
SELECT wf_start('looping', '{"times": 4}', id => 'loop');
SELECT wf_result('loop', wait => '10 s');
SELECT n, name, occurrence, kind, status, attempt, result FROM wf.steps WHERE id = 'loop' ORDER BY n;
SELECT note FROM log ORDER BY n;
TRUNCATE log;

-- WHEN OTHERS around steps and waits sees failures, and nothing of the unwinding.
CREATE FUNCTION handlers(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    seen text[] := '{}';
BEGIN
    BEGIN
        PERFORM wf_step('a', 'note', '{"text": "a"}');
        PERFORM wf_sleep('1 ms');
        BEGIN
            PERFORM wf_wait_signal('never', timeout => '1 ms');
            PERFORM wf_step('b', 'SELECT 1 / 0');
            seen := seen || 'not reached'::text;
        EXCEPTION WHEN division_by_zero THEN
            seen := seen || 'division'::text;
            PERFORM wf_step('c', 'note', '{"text": "c"}');
        END;
        PERFORM wf_step('d', 'SELECT nothing');
    EXCEPTION WHEN OTHERS THEN
        seen := seen || SQLSTATE || SQLERRM;
        PERFORM wf_step('e', 'note', '{"text": "e"}');
    END;
    RETURN to_jsonb(seen);
END $$;
SELECT wf_start('handlers', id => 'handlers');
SELECT wf_result('handlers', wait => '10 s');
SELECT note FROM log ORDER BY n;
SELECT n, name, occurrence, kind, status, result, sqlstate, error FROM wf.steps WHERE id = 'handlers' ORDER BY n;
TRUNCATE log;

-- A handler that catches query_canceled itself does not stop the unwinding either.
CREATE FUNCTION swallows(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    BEGIN
        r := wf_step('a', 'note', '{"text": "a"}');
    EXCEPTION WHEN query_canceled THEN
        r := '"swallowed"';
    END;
    RETURN r;
END $$;
SELECT wf_start('swallows', id => 'swallows');
SELECT wf_result('swallows', wait => '10 s');
SELECT note FROM log ORDER BY n;
TRUNCATE log;

-- Compensation: undo what was done, then fail with the error that it was about.
CREATE FUNCTION charge(amount int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO log (note) VALUES ('never kept');
    RAISE EXCEPTION 'card declined' USING ERRCODE = 'PAY01', DETAIL = format('The limit is below %s.', amount), HINT = 'Use another card.';
END $$;
CREATE FUNCTION saga(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('reserve', 'note', '{"text": "reserved"}');
    PERFORM wf_step('charge', 'charge', '{"amount": 10}');
    RETURN '"paid"';
EXCEPTION WHEN SQLSTATE 'PAY01' THEN
    PERFORM wf_step('release', 'note', '{"text": "released"}');
    RAISE;
END $$;
SELECT wf_start('saga', id => 'saga');
SELECT wf_result('saga', wait => '10 s');
\echo :SQLSTATE
SELECT wf_status('saga');
SELECT note FROM log ORDER BY n;
SELECT n, name, status, attempt, sqlstate, error FROM wf.steps WHERE id = 'saga' ORDER BY n;
SELECT status, error, sqlstate FROM wf.workflows WHERE id = 'saga';
TRUNCATE log;

-- What GET STACKED DIAGNOSTICS sees of a failed step.
CREATE FUNCTION diagnoses(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    state text; message text; detail text; hint text; context text;
BEGIN
    PERFORM wf_step('charge', 'charge', '{"amount": 10}');
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
        hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
    RETURN jsonb_build_array(state, message, detail, hint, context LIKE '%function charge(integer) line 4 at RAISE%');
END $$;
SELECT wf_start('diagnoses', id => 'diagnoses');
SELECT wf_result('diagnoses', wait => '10 s');

-- An error in the workflow's own code: nothing of its own is kept, what steps did is.
CREATE FUNCTION breaks(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_set('progress', '1');
    PERFORM wf_step('a', 'note', '{"text": "kept"}');
    PERFORM wf_set('progress', '2');
    RETURN to_jsonb(1 / (input->>'zero')::int);
END $$;
SELECT wf_start('breaks', '{"zero": 0}', id => 'breaks');
SELECT wf_result('breaks', wait => '10 s');
\echo :SQLSTATE
SELECT note FROM log ORDER BY n;
-- What was published before the failure stays readable.
SELECT wf_get('breaks', 'progress'), wf_get('breaks', 'nothing');
SELECT "values" FROM wf.workflows WHERE id = 'breaks';
SELECT n, kind, name, occurrence, result FROM wf.steps WHERE id = 'breaks' ORDER BY n;
TRUNCATE log;

-- Values made on the spot are made once.
CREATE FUNCTION moments(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    t timestamptz := wf_now();
    r float8 := wf_random();
    u uuid := wf_uuid();
    t2 timestamptz;
BEGIN
    PERFORM wf_sleep('10 ms');
    t2 := wf_now();
    PERFORM wf_step('a', 'note', '{"text": "a"}');
    RETURN jsonb_build_object('t', t, 'r', r, 'u', u, 'later', t2 > t, 't2', t2);
END $$;
SELECT wf_start('moments', id => 'moments');
SELECT wf_result('moments', wait => '10 s') IS NOT NULL AS done;
SELECT r->>'later' AS later, (r->>'r')::float8 BETWEEN 0 AND 1 AS in_range, length(r->>'u') AS uuid,
       (SELECT jsonb_agg(s.result ORDER BY s.n) = jsonb_build_array(r->'t', r->'u', r->'t2')
        FROM wf.steps s WHERE id = 'moments' AND kind = 'value' AND name <> 'wf_random') AS recorded,
       (SELECT s.result::float8 = (r->>'r')::float8 FROM wf.steps s WHERE id = 'moments' AND name = 'wf_random') AS same_number
FROM wf_result('moments') AS r;
SELECT n, kind, name, occurrence FROM wf.steps WHERE id = 'moments' ORDER BY n;
TRUNCATE log;

-- The number that the workflow got is the number on record, to the last digit.
CREATE FUNCTION dice(input jsonb) RETURNS float8[] LANGUAGE plpgsql AS $$
DECLARE
    numbers float8[] := '{}';
BEGIN
    FOR i IN 1..200 LOOP
        numbers := numbers || wf_random();
    END LOOP;
    RETURN numbers;
END $$;
SELECT wf_start('dice', id => 'dice');
SELECT jsonb_array_length(wf_result('dice', wait => '10 s')) AS numbers;
SELECT count(*) AS differ FROM wf.steps s, wf_result('dice') AS r WHERE s.id = 'dice' AND s.result::float8 <> (r->>(s.n - 1))::float8;

-- SQL functions, and functions in a function, are workflows too.
CREATE FUNCTION in_sql(input jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT wf_step('first', 'note', '{"text": "first"}');
    SELECT wf_step('second', 'note', '{"text": "second"}');
    SELECT jsonb_build_array(wf_step('third', 'note', '{"text": "third"}'), input);
$$;
SELECT wf_start('in_sql', '1', id => 'in-sql');
SELECT wf_result('in-sql', wait => '10 s');
CREATE FUNCTION helper(what text) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step(what, 'note', jsonb_build_object('text', what)); END $$;
CREATE FUNCTION outer_flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM helper('inner 1');
    RETURN helper('inner 2');
END $$;
SELECT wf_start('outer_flow', id => 'outer');
SELECT wf_result('outer', wait => '10 s');
-- A workflow of a set gives an array.
CREATE FUNCTION gives_set() RETURNS TABLE (a int, b jsonb) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT 1, wf_step('one', 'SELECT 1');
    RETURN QUERY SELECT 2, wf_step('two', 'SELECT 2');
END $$;
SELECT wf_start('gives_set', id => 'set');
SELECT wf_result('set', wait => '10 s');
SELECT note FROM log ORDER BY n;

-- Arguments of the calls themselves.
CREATE FUNCTION wrong_call(call text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    EXECUTE 'SELECT to_jsonb(' || call || ')' INTO r;
    RETURN r;
EXCEPTION WHEN OTHERS THEN
    RETURN jsonb_build_array(SQLSTATE, SQLERRM);
END $$;
SELECT wf_start('wrong_call', jsonb_build_object('call', call), id => 'wrong ' || n)
FROM unnest(ARRAY['wf_step(NULL, ''SELECT 1'')', 'wf_step('''', ''SELECT 1'')', 'wf_step(''a'', NULL)', 'wf_step(''a'', '''')', 'wf_step(''a'', ''SELECT 1'', NULL)',
                  'wf_step(''a'', ''SELECT 1'', timeout => ''0'')', 'wf_sleep(NULL)', 'wf_sleep(''1 s'', '''')', 'wf_sleep_until(NULL)', 'wf_sleep(''-1 s'')',
                  'wf_wait_signal(NULL)', 'wf_wait_signal('''')', 'wf_set(NULL, ''1'')', 'wf_set('''', ''1'')', 'wf_set(''a'', NULL)', 'wf_step(repeat(''x'', 1025), ''SELECT 1'')'])
     WITH ORDINALITY AS c (call, n);
SELECT input->>'call' AS call, wf_result(id, wait => '10 s') FROM wf.workflows WHERE workflow = 'wrong_call' ORDER BY length(id), id;
