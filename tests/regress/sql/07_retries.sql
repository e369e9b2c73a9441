-- How often a step is tried. Writes of failed attempts are undone; a sequence is not, and so counts them.
CREATE SEQUENCE attempts;
CREATE TABLE done (note text);
CREATE FUNCTION flaky(fails int, code text DEFAULT 'P0001') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    n int := nextval('attempts');
BEGIN
    INSERT INTO done VALUES ('attempt ' || n);
    IF n <= fails THEN
        RAISE EXCEPTION 'attempt % failed', n USING ERRCODE = code;
    END IF;
    RETURN 'succeeded in attempt ' || n;
END $$;
CREATE FUNCTION tries(fails int, code text DEFAULT 'P0001', retry jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('flaky', 'flaky', jsonb_build_object('fails', fails, 'code', code), retry => retry);
EXCEPTION WHEN OTHERS THEN
    RETURN jsonb_build_array(SQLSTATE, SQLERRM);
END $$;
-- Runs one instance and tells result, attempts made, attempts recorded, and what is left of them.
CREATE PROCEDURE try(instance text, input jsonb, INOUT result jsonb DEFAULT NULL, INOUT made bigint DEFAULT NULL,
                     INOUT recorded int DEFAULT NULL, INOUT kept text[] DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM setval('attempts', 1, false);
    DELETE FROM done;
    PERFORM wf_start('tries', input, id => instance);
    COMMIT;
    result := wf_result(instance, wait => '20 s');
    made := nextval('attempts') - 1;
    recorded := (SELECT attempt FROM wf.steps WHERE id = instance);
    kept := (SELECT array_agg(note) FROM done);
END $$;

-- Without a policy only what a second attempt can cure is tried again.
CALL try('plain', '{"fails": 1}');
CALL try('unique', '{"fails": 1, "code": "23505"}');
CALL try('serialization', '{"fails": 1, "code": "40001"}');
CALL try('lock', '{"fails": 1, "code": "55P03"}');
-- With one, everything is, unless it says otherwise.
CALL try('twice', '{"fails": 2, "retry": {"first_delay": "1 ms"}}');
CALL try('three', '{"fails": 9, "retry": {"max_attempts": 3, "first_delay": "1 ms"}}');
CALL try('once', '{"fails": 9, "retry": {"max_attempts": 1}}');
CALL try('five', '{"fails": 9, "retry": {"first_delay": "1 ms", "max_delay": "2 ms"}}');
CALL try('unlimited', '{"fails": 20, "retry": {"max_attempts": 0, "first_delay": "1 ms", "max_delay": "1 ms", "backoff": 1, "jitter": 0}}');
CALL try('null is absent', '{"fails": 9, "retry": {"max_attempts": 2, "first_delay": "0", "jitter": null}}');
CALL try('listed', '{"fails": 9, "code": "40001", "retry": {"max_attempts": 2, "first_delay": "1 ms", "retry_on": ["40*", "P0001"]}}');
CALL try('unlisted', '{"fails": 9, "code": "22012", "retry": {"max_attempts": 2, "first_delay": "1 ms", "retry_on": ["40*", "P0001"]}}');
CALL try('excluded', '{"fails": 9, "code": "P0002", "retry": {"max_attempts": 2, "first_delay": "1 ms", "retry_on": ["P0*"], "no_retry_on": ["P0002"]}}');
CALL try('own class', '{"fails": 1, "code": "SHOP1", "retry": {"first_delay": "1 ms", "retry_on": ["SHOP1"]}}');

-- Between attempts it waits, and says for what.
SELECT wf_start('tries', '{"fails": 100, "retry": {"first_delay": "1 hour", "max_delay": "2 hours", "jitter": 0}}', id => 'waiting');
DO $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN wf_status('waiting') = 'waiting';
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT status, regexp_replace(waiting_for, ' at .*', ' at ...') AS waiting_for FROM wf.workflows WHERE id = 'waiting';
SELECT name, status, attempt, error, due_at - started_at BETWEEN '59 min' AND '61 min' AS in_an_hour FROM wf.steps WHERE id = 'waiting';
SELECT wf_cancel('waiting');
SELECT wf_result('waiting', wait => '10 s');
SELECT name, status, attempt, error, due_at FROM wf.steps WHERE id = 'waiting';

-- Policies that make no sense are refused by name.
CREATE FUNCTION policy(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    detail text; hint text;
BEGIN
    RETURN wf_step('s', 'SELECT 1', retry => input->'retry');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN jsonb_build_array(SQLSTATE, SQLERRM, nullif(detail, ''), nullif(hint, ''));
END $$;
SELECT wf_start('policy', jsonb_build_object('retry', p), id => 'policy ' || n)
FROM unnest(ARRAY['[]', '"often"', '{"attempts": 3}', '{"max_attempts": -1}', '{"max_attempts": 1.5}', '{"max_attempts": "3"}',
                  '{"first_delay": 1}', '{"first_delay": "soon"}', '{"first_delay": "-1 s"}', '{"backoff": 0.5}', '{"jitter": 2}',
                  '{"max_delay": "1 fortnight"}', '{"retry_on": "40*"}', '{"retry_on": ["4000"]}', '{"no_retry_on": [40001]}', '{"retry_on": ["deadlock_detected"]}',
                  '{}', '{"first_delay": "1 mon"}']::jsonb[]) WITH ORDINALITY AS t (p, n);
SELECT input->>'retry' AS retry, r->>0 AS code, r->>1 AS message, r->>3 AS hint
FROM wf.workflows, wf_result(id, wait => '10 s') AS r WHERE workflow = 'policy' ORDER BY length(id), id;

-- Timeouts: of an attempt, and of the whole run.
CREATE FUNCTION slow(timeout interval DEFAULT NULL, retry jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('doze', 'SELECT nextval(''attempts''); SELECT pg_sleep(20)', timeout => timeout, retry => retry);
END $$;
SELECT setval('attempts', 1, false);
SELECT wf_start('slow', '{"timeout": "100 ms"}', id => 'slow');
\set VERBOSITY terse
SELECT wf_result('slow', wait => '10 s');
\echo :SQLSTATE
SELECT status, attempt, sqlstate, error FROM wf.steps WHERE id = 'slow';
SELECT setval('attempts', 1, false);
SELECT wf_start('slow', '{"timeout": "50 ms", "retry": {"max_attempts": 2, "first_delay": "1 ms", "retry_on": ["WF004"]}}', id => 'slow twice');
SELECT wf_result('slow twice', wait => '10 s');
\set VERBOSITY default
SELECT status, attempt, sqlstate FROM wf.steps WHERE id = 'slow twice';
SELECT wf_start('slow', id => 'run limit', timeout => '200 ms');
\set VERBOSITY terse
SELECT wf_result('run limit', wait => '10 s');
\set VERBOSITY default
\echo :SQLSTATE
SELECT wf_get('run limit')->'error'->>'detail' LIKE 'Its deadline was %.' AS has_detail;
SELECT name, status FROM wf.steps WHERE id = 'run limit';
CREATE FUNCTION long_sleep(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_sleep('1 hour');
    RETURN NULL;
END $$;
SELECT wf_start('long_sleep', id => 'sleep limit', timeout => '100 ms');
\set VERBOSITY terse
SELECT wf_result('sleep limit', wait => '10 s');
\set VERBOSITY default
SELECT name, status, due_at FROM wf.steps WHERE id = 'sleep limit';
-- A limit that is not reached.
SELECT wf_start('tries', '{"fails": 0}', id => 'quick', timeout => '1 hour');
SELECT wf_result('quick', wait => '10 s') IS NOT NULL AS done;
SELECT deadline > now() AS has_deadline FROM wf.workflows WHERE id = 'quick';
