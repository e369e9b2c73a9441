-- Starting under an id that is there already.
-- Waits for a status.
CREATE FUNCTION until(id text, status text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN wf_status(id) = status;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN wf_status(id);
END $$;
CREATE FUNCTION hold(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_wait_signal('go');
END $$;
CREATE FUNCTION other(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN input; END $$;
CREATE FUNCTION fails(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no luck'; END $$;

SELECT wf_start('hold', '{"n": 1}', id => 'a');
SELECT until('a', 'waiting');
-- The same again is the same: once started.
SELECT wf_start('hold', '{"n": 1}', id => 'a');
SELECT wf_start('hold', '{"n": 1.0}', id => 'a');
SELECT wf_start('public.hold', '{"n": 1}', id => 'a');
SELECT wf_start('hold', '{"n": 1}', id => 'a', on_conflict => 'use_existing');
-- Anything else is a mistake.
SELECT wf_start('hold', '{"n": 2}', id => 'a');
\echo :SQLSTATE
SELECT wf_start('other', '{"n": 1}', id => 'a');
SELECT wf_start('hold', '{"n": 1}', id => 'a', on_conflict => 'fail');
SELECT wf_start('hold', '{"n": 1}', id => 'a', on_conflict => 'start_new');
SELECT wf_start('hold', '{"n": 2}', id => 'a', on_conflict => 'start_new');
SELECT wf_start('hold', '{"n": 1}', id => 'a', on_conflict => 'replace');
\echo :SQLSTATE
SELECT wf_start('hold', '{"n": 1}', id => 'a', on_conflict => NULL);
SELECT wf_start('hold', '{"n": 1}', id => 'a', on_conflict => '');
SELECT count(*) AS runs FROM wf.workflows WHERE id = 'a';

-- Once it has ended, use_existing still gives back what is there.
SELECT wf_signal('a', 'go', '"went"');
SELECT wf_result('a', wait => '10 s');
SELECT wf_start('hold', '{"n": 1}', id => 'a');
SELECT wf_status('a');
SELECT wf_start('hold', '{"n": 1}', id => 'a', on_conflict => 'fail');
SELECT wf_start('hold', '{"n": 2}', id => 'a');

-- start_new: another run of the id, with another input or another workflow.
SELECT wf_start('other', '{"n": 2}', id => 'a', on_conflict => 'start_new');
SELECT wf_result('a', wait => '10 s');
SELECT wf_start('fails', id => 'a', on_conflict => 'start_new');
SELECT wf_result('a', wait => '10 s');
SELECT wf_start('hold', id => 'a', on_conflict => 'start_new');
SELECT until('a', 'waiting');
SELECT wf_cancel('a');
SELECT wf_result('a', wait => '10 s');
SELECT run, workflow, status, input, result, error FROM wf.workflows WHERE id = 'a' ORDER BY run;

-- Twice in one statement, and twice in one transaction of which half is rolled back.
SELECT wf_start('other', '{}', id => 'twice') FROM generate_series(1, 3);
SELECT wf_result('twice', wait => '10 s');
BEGIN;
SELECT wf_start('other', '{"from": "first"}', id => 'b');
SAVEPOINT s;
SELECT wf_start('other', '{"from": "second"}', id => 'b');
ROLLBACK TO s;
COMMIT;
SELECT wf_result('b', wait => '10 s');
SELECT id, count(*) AS runs FROM wf.workflows GROUP BY id ORDER BY id;
