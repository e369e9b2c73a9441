-- Polling: wait for a state that nobody will tell you of, with growing pauses.
--
-- Two ways. A loop of a step and a sleep is plain code, and can do something else in between. A step that fails as long as
-- the state is not there, with a retry policy, is shorter. While either waits it is some rows, no process.
-- (Where the other side can tell, let it send a signal: that needs no polling.)
--
-- Temporal: a loop with an activity and workflow.sleep, or an activity that fails under a RetryPolicy.
-- DBOS: a loop with a step and DBOS.sleep.
-- Prefect: a task with retries and retry_delay_seconds=exponential_backoff(...).
--
-- To be run as superuser in a fresh database that has the extension.

\set ON_ERROR_STOP on

CREATE TABLE exports (id integer PRIMARY KEY, state text NOT NULL);
INSERT INTO exports VALUES (1, 'running'), (2, 'running'), (3, 'stuck');

-- A loop, which gives up after a number of tries.
CREATE FUNCTION await_export(export integer, tries integer) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    pause interval := '20 ms';
    state text;
BEGIN
    FOR try IN 1..tries LOOP
        state := wf_step('ask', 'SELECT state FROM exports WHERE id = $1::integer', to_jsonb(export))->>0;
        IF state <> 'running' AND state <> 'stuck' THEN
            RETURN jsonb_build_object('state', state, 'tries', try);
        END IF;
        PERFORM wf_sleep(pause);
        pause := least(pause * 2, '1 s');
    END LOOP;
    RETURN jsonb_build_object('state', 'given up', 'tries', tries);
END $$;

-- A retry policy. Only "not yet" is tried again; any other error fails at once.
CREATE FUNCTION ask_export(export integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text := (SELECT state FROM exports WHERE id = export);
BEGIN
    IF found IS NULL THEN
        RAISE 'no such export: %', export USING ERRCODE = 'no_data_found';
    ELSIF found = 'running' THEN
        RAISE 'not yet' USING ERRCODE = 'P0202';
    END IF;
    RETURN found;
END $$;
CREATE FUNCTION await_export_by_retry(export integer) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('ask', 'ask_export', jsonb_build_object('export', export),
        retry => '{"max_attempts": 0, "first_delay": "20 ms", "backoff": 2, "max_delay": "1 s", "retry_on": ["P0202"]}');
END $$;

-- The outside: here an instance that ends the exports after a while.
CREATE FUNCTION exporter() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_sleep('300 ms');
    PERFORM wf_step('finish', 'UPDATE exports SET state = ''finished'' WHERE state = ''running''');
END $$;

SELECT wf_start('await_export', '{"export": 1, "tries": 1000}', id => 'loop');
SELECT wf_start('await_export', '{"export": 3, "tries": 3}', id => 'stuck');
SELECT wf_start('await_export_by_retry', '{"export": 2}', id => 'retry');
SELECT wf_start('await_export_by_retry', '{"export": 4}', id => 'unknown');
SELECT wf_start('exporter', id => 'exporter');

DO $$
DECLARE
    result jsonb := wf_result('loop', wait => '30 s');
BEGIN
    ASSERT result->>'state' = 'finished' AND (result->>'tries')::integer > 1, result;
    ASSERT wf_result('stuck', wait => '30 s') = '{"state": "given up", "tries": 3}';
    ASSERT wf_result('retry', wait => '30 s') = '"finished"';
    ASSERT (SELECT attempt FROM wf.steps WHERE id = 'retry') > 1, 'it was asked more than once';
    PERFORM wf_result('unknown', wait => '30 s');
    ASSERT false, 'an export that does not exist was found';
EXCEPTION WHEN no_data_found THEN
    ASSERT (SELECT attempt FROM wf.steps WHERE id = 'unknown') = 1, 'another error is not tried again';
END $$;

SELECT id, n, name, kind, status, attempt, result FROM wf.steps WHERE id IN ('loop', 'retry', 'stuck', 'unknown') ORDER BY id, n;
