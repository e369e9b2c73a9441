-- Limits in time: of a step over all its attempts, of the start, of the run. Each error says what has expired.
CREATE SEQUENCE attempts;
CREATE FUNCTION flaky(code text DEFAULT 'P0042') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM nextval('attempts');
    RAISE EXCEPTION 'card declined' USING ERRCODE = code;
END $$;
-- What an error says, without its times.
CREATE FUNCTION plain(text) RETURNS text LANGUAGE sql AS $$
    SELECT regexp_replace(regexp_replace($1, '\d{4}-\d\d-\d\d [0-9:.]+\+\d\d', 'TIME', 'g'), '\d+ attempts?', 'N attempts')
$$;

-- Over all attempts: no retry begins behind it.
CREATE FUNCTION pays(total interval DEFAULT NULL, target text DEFAULT 'flaky', retry jsonb DEFAULT NULL, timeout interval DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    RETURN wf_step('pay', target, '{}', retry => retry, timeout => timeout, total_timeout => total);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN jsonb_build_array(SQLSTATE, plain(SQLERRM), plain(detail));
END $$;
SELECT wf_start('pays', '{"total": "1 s", "retry": {"max_attempts": 0, "first_delay": "50 ms", "backoff": 1}}', id => 'declined');
SELECT wf_result('declined', wait => '10 s');
SELECT name, status, attempt = last_value AS counted, attempt BETWEEN 2 AND 21 AS several, sqlstate, finished_at - started_at < '5 s' AS in_time, due_at
FROM wf.steps, attempts WHERE id = 'declined';
-- One that could only begin behind it is not waited for.
SELECT wf_start('pays', '{"total": "2 s", "retry": {"first_delay": "1 hour", "max_delay": "1 hour"}}', id => 'no use');
SELECT wf_result('no use', wait => '10 s');
SELECT attempt, finished_at - started_at < '2 s' AS at_once FROM wf.steps WHERE id = 'no use';
-- The last attempt has the time that is left.
SELECT wf_start('pays', '{"total": "200 ms", "target": "SELECT pg_sleep(60)"}', id => 'cut');
SELECT wf_result('cut', wait => '10 s');
SELECT status, attempt, finished_at - started_at BETWEEN '190 ms' AND '20 s' AS took FROM wf.steps WHERE id = 'cut';
CREATE FUNCTION fails_then_sleeps() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('attempts') = 1 THEN
        RAISE EXCEPTION 'card declined' USING ERRCODE = 'P0042';
    END IF;
    PERFORM pg_sleep(60);
END $$;
SELECT setval('attempts', 1, false);
SELECT wf_start('pays', '{"total": "500 ms", "target": "fails_then_sleeps", "retry": {"first_delay": "10 ms"}}', id => 'second is cut');
SELECT wf_result('second is cut', wait => '10 s');
SELECT status, attempt FROM wf.steps WHERE id = 'second is cut';
-- What comes first counts: an attempt's own limit, the last attempt, an error that is not retried, success.
SELECT wf_start('pays', '{"total": "1 hour", "timeout": "100 ms", "target": "SELECT pg_sleep(60)"}', id => 'attempt');
SELECT wf_result('attempt', wait => '10 s');
SELECT wf_start('pays', '{"total": "1 hour", "retry": {"max_attempts": 2, "first_delay": "1 ms"}}', id => 'last');
SELECT wf_result('last', wait => '10 s');
SELECT wf_start('pays', '{"total": "1 hour"}', id => 'not retried');
SELECT wf_result('not retried', wait => '10 s');
SELECT wf_start('pays', '{"total": "1 hour", "target": "SELECT 7"}', id => 'success');
SELECT wf_result('success', wait => '10 s');
SELECT wf_start('pays', '{"total": "-1 s"}', id => 'negative');
SELECT wf_result('negative', wait => '10 s');
-- As an option of the workflow; a procedure, too.
SELECT wf_define('pays at once', 'pays', '{"step_total_timeout": "100 ms", "retry": {"first_delay": "1 s", "jitter": 0}}');
SELECT wf_start('pays at once', id => 'option');
SELECT wf_result('option', wait => '10 s');
SELECT wf_start('pays at once', '{"total": "1200 ms"}', id => 'own');
SELECT wf_result('own', wait => '10 s');
SELECT attempt FROM wf.steps WHERE id = 'own';
CREATE PROCEDURE pays_in_place(input jsonb, INOUT result jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
    CALL wf_step('before', 'SELECT 1', '{}', result);
    CALL wf_step('pay', 'flaky', '{}', result, retry => '{"max_attempts": 0, "first_delay": "50 ms", "backoff": 1}', total_timeout => '300 ms');
END $$;
SELECT wf_start('pays_in_place', id => 'procedure');
DO $$
BEGIN
    PERFORM wf_result('procedure', wait => '10 s');
EXCEPTION WHEN SQLSTATE 'WF004' THEN
    RAISE NOTICE '%', plain(SQLERRM);
END $$;
SELECT name, status, attempt BETWEEN 1 AND 6 AS attempts, sqlstate FROM wf.steps WHERE id = 'procedure' ORDER BY n;

-- The start. A run that is not begun in time fails; here nobody may run it before then.
CREATE FUNCTION quick(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_sleep('100 ms');
    RETURN '"done"';
END $$;
SELECT wf_start('quick', id => 'in time', start_timeout => '30 s');
SELECT start_by - created_at AS start_timeout FROM wf.workflows WHERE id = 'in time';
SELECT wf_result('in time', wait => '10 s');
SELECT wf_start('quick', id => 'later', delay => '100 ms', start_timeout => '30 s');
SELECT start_by - created_at BETWEEN '30 s' AND '31 s' AS counted_from_its_start FROM wf.workflows WHERE id = 'later';
SELECT wf_result('later', wait => '10 s');
SELECT wf_define('quick start', 'quick', '{"start_timeout": "20 s"}');
SELECT wf_start('quick start', id => 'option start');
SELECT start_by - created_at AS start_timeout FROM wf.workflows WHERE id = 'option start';
SELECT wf_result('option start', wait => '10 s');
SELECT wf_start('quick start', id => 'cancelled', delay => '1 hour', start_timeout => '1 hour');
SELECT wf_cancel('cancelled');
SELECT wf_result('cancelled', wait => '10 s');
SELECT count(*) FROM wf_internal.timers WHERE n = -2;
-- In the caller's own transaction, whose block lasts too long.
BEGIN;
SELECT wf_start('quick', id => 'too late', start_timeout => '10 ms', timeout => '1 hour');
SELECT pg_sleep(0.02);
CALL wf_run_pending();
COMMIT;
\set VERBOSITY terse
SELECT wf_result('too late', wait => '10 s');
\set VERBOSITY default
\echo :SQLSTATE
SELECT status, finished_at IS NOT NULL AS finished, plain(wf_get(id)->'error'->>'detail') AS detail, wf_get(id)->'error'->>'hint' AS hint
FROM wf.workflows WHERE id = 'too late';
SELECT count(*) FROM wf_internal.timers WHERE n = -2;
SELECT wf_start('quick', start_timeout => '0');
SELECT wf_define('quick start', 'quick', '{"start_timeout": "never"}');

-- The run: what it stood at.
CREATE FUNCTION stands(at text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    CASE at
        WHEN 'sleep' THEN PERFORM wf_sleep('1 hour', 'nap');
        WHEN 'signal' THEN PERFORM wf_wait_signal('approval');
        WHEN 'step' THEN PERFORM wf_step('doze', 'SELECT pg_sleep(60)');
        WHEN 'retry' THEN PERFORM wf_step('pay', 'flaky', retry => '{"first_delay": "1 hour"}');
        WHEN 'code' THEN PERFORM pg_sleep(60);
    END CASE;
    RETURN NULL;
END $$;
SELECT wf_start('stands', jsonb_build_object('at', at), id => at, timeout => '1 s') FROM unnest('{sleep,signal,step,retry,code}'::text[]) AS at;
SELECT wf_start('stands', '{"at": "sleep"}', id => 'delayed', timeout => '1 s', delay => '50 ms');
DO $$
BEGIN
    FOR i IN 1..2000 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM wf.workflows WHERE workflow = 'stands' AND finished_at IS NULL);
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT id, status, sqlstate, error, plain(wf_get(id)->'error'->>'detail') AS detail FROM wf.workflows WHERE workflow = 'stands' ORDER BY id;
