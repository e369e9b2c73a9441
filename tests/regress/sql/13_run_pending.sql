-- Work driven by hand, in the caller's transaction: nobody else sees it before it commits.
CREATE TABLE log (n int GENERATED ALWAYS AS IDENTITY, note text);
CREATE FUNCTION note(text text) RETURNS text LANGUAGE sql AS $$ INSERT INTO log (note) VALUES (text) RETURNING note $$;
CREATE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('first', 'note', jsonb_build_object('text', input->>'n' || ' first'));
    PERFORM wf_step('second', 'note', jsonb_build_object('text', input->>'n' || ' second'));
    RETURN input;
END $$;
CREATE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN jsonb_build_array(wf_wait_signal('go'), wf_step('after', 'note', '{"text": "after"}'));
END $$;
CREATE FUNCTION fails(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('kept', 'note', '{"text": "kept"}');
    PERFORM wf_step('bad', 'SELECT 1 / 0');
    RETURN input;
END $$;
CALL wf_run_pending();

BEGIN;
SELECT wf_start('flow', '{"n": 1}', id => 'one');
SELECT wf_start('flow', '{"n": 2}', id => 'two', priority => -1);
SELECT wf_start('fails', id => 'three', priority => 5);
SELECT wf_start('flow', '{"n": 4}', id => 'four', delay => '1 day');
CALL wf_run_pending();
SELECT id, status, result, error FROM wf.workflows ORDER BY id;
SELECT note FROM log ORDER BY n;
SELECT wf_result('one');
CALL wf_run_pending();
COMMIT;
SELECT id, status FROM wf.workflows ORDER BY id;
SELECT count(*) FROM log;

-- Rolled back with all that was done.
BEGIN;
SELECT wf_start('flow', '{"n": 5}', id => 'five');
CALL wf_run_pending();
SELECT wf_status('five');
ROLLBACK;
SELECT wf_status('five');
SELECT count(*) FROM log;

-- Signals and cancels within one transaction.
BEGIN;
SELECT wf_start('waits', id => 'signalled');
SELECT wf_start('waits', id => 'cancelled');
CALL wf_run_pending();
SELECT id, status, waiting_for FROM wf.workflows WHERE id IN ('signalled', 'cancelled') ORDER BY id;
SELECT wf_signal('signalled', 'go', '"gone"');
SELECT wf_cancel('cancelled', 'enough');
CALL wf_run_pending();
SELECT id, status, result, error FROM wf.workflows WHERE id IN ('signalled', 'cancelled') ORDER BY id;
COMMIT;

-- In a DO block, a function, a savepoint.
DO $$
BEGIN
    PERFORM wf_start('flow', '{"n": 6}', id => 'six');
    -- It may commit here; from then on an executor may have it.
    FOR i IN 1..1000 LOOP
        CALL wf_run_pending();
        EXIT WHEN wf_status('six') = 'completed';
        PERFORM pg_sleep(0.01);
    END LOOP;
    RAISE NOTICE '%', wf_result('six');
END $$;
BEGIN;
SAVEPOINT s;
SELECT wf_start('flow', '{"n": 7}', id => 'seven');
CALL wf_run_pending();
ROLLBACK TO s;
CALL wf_run_pending();
SELECT wf_start('flow', '{"n": 77}', id => 'seven');
CALL wf_run_pending();
SELECT wf_result('seven');
COMMIT;

-- Settings, role and memory of the caller are as they were.
SET work_mem = '3MB';
CREATE FUNCTION changes(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('set', 'SET work_mem = ''1MB''; SET search_path = pg_catalog; SET timezone = ''Asia/Tokyo''');
    RETURN wf_step('table', 'CREATE TEMP TABLE left_over (n int)');
END $$;
BEGIN;
SELECT wf_start('changes', id => 'changes');
CALL wf_run_pending();
SHOW work_mem;
SHOW search_path;
SHOW timezone;
SELECT current_user = session_user AS same_user;
COMMIT;
RESET work_mem;

-- A step that fails inside the caller's transaction does not fail the caller's.
BEGIN;
SELECT wf_start('fails', id => 'eight');
CALL wf_run_pending();
SELECT wf_status('eight');
SELECT wf_result('eight');
ROLLBACK;
-- A retry waits for its time; wf_run_pending does not wait for it.
CREATE FUNCTION retries(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('bad', 'SELECT 1 / 0', retry => '{"first_delay": "1 h"}'); END $$;
BEGIN;
SELECT wf_start('retries', id => 'nine');
CALL wf_run_pending();
SELECT status, attempt, error FROM wf.steps WHERE id = 'nine';
ROLLBACK;

-- Only one's own.
CREATE ROLE regress_other LOGIN;
GRANT INSERT ON log TO regress_other;
BEGIN;
SET LOCAL ROLE regress_other;
SELECT wf_start('flow', '{"n": 10}', id => 'ten');
RESET ROLE;
CALL wf_run_pending();
SELECT wf_status('ten');
ROLLBACK;
-- And only as who one is: code that runs under a borrowed role could shed it.
SET ROLE regress_other;
CALL wf_run_pending();
RESET ROLE;
SET SESSION AUTHORIZATION regress_other;
CALL wf_run_pending();
RESET SESSION AUTHORIZATION;

-- Not in a workflow, and not in a step.
CREATE FUNCTION inside(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN CALL wf_run_pending(); RETURN NULL; END $$;
CREATE FUNCTION inside_step(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('run', 'wf_run_pending'); END $$;
BEGIN;
SELECT wf_start('inside', id => 'inside');
SELECT wf_start('inside_step', id => 'inside-step');
CALL wf_run_pending();
SELECT id, status, sqlstate, error FROM wf.workflows WHERE id LIKE 'inside%' ORDER BY id;
COMMIT;

-- A long chain in one transaction.
CREATE FUNCTION chain(n int) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..n LOOP
        PERFORM wf_step('link', 'SELECT 1');
    END LOOP;
    RETURN to_jsonb(n);
END $$;
BEGIN;
SELECT wf_start('chain', '{"n": 100}', id => 'chain');
CALL wf_run_pending();
SELECT wf_result('chain'), (SELECT count(*) FROM wf.steps WHERE id = 'chain') AS steps;
ROLLBACK;
