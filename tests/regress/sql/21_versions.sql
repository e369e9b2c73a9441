-- Moving instances to newer code, and removing what has ended.
\set SHOW_CONTEXT never
-- Waits for a status.
CREATE FUNCTION until(id text, status text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN wf_status(id) = status;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN wf_status(id);
END $$;
CREATE TABLE log (what text);
CREATE FUNCTION note(what text) RETURNS void LANGUAGE sql AS $$ INSERT INTO log VALUES (what) $$;
CREATE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('first', 'note', '{"what": "first"}');
    PERFORM wf_wait_signal('go');
    RETURN '"version 1"';
END $$;
SELECT wf_start('flow', id => 'a'), wf_start('flow', id => 'b');
SELECT until('a', 'waiting'), until('b', 'waiting');
SELECT * FROM wf_replay_check('flow') ORDER BY id;

-- A step behind the wait: the new code fits.
CREATE OR REPLACE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('first', 'note', '{"what": "first"}');
    PERFORM wf_wait_signal('go');
    PERFORM wf_step('second', 'note', '{"what": "second"}');
    RETURN '"version 2"';
END $$;
SELECT * FROM wf_replay_check('flow') ORDER BY id;
SELECT id, version FROM wf.workflows ORDER BY id;
SELECT wf_upgrade('a');
SELECT wf_upgrade('a');
SELECT id, version, status, waiting_for FROM wf.workflows ORDER BY id;
SELECT wf_signal('a', 'go'), wf_signal('b', 'go');
SELECT wf_result('a', wait => '10 s'), wf_result('b', wait => '10 s');
SELECT * FROM log ORDER BY what;
SELECT version, open_instances, finished_instances, is_current, is_restored FROM wf.definitions WHERE workflow = 'flow' ORDER BY version;
-- As it was before: that is a version, too.
SELECT wf_start('flow', id => 'back');
SELECT until('back', 'waiting');
BEGIN;
CREATE OR REPLACE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('first', 'note', '{"what": "first"}');
    PERFORM wf_wait_signal('go');
    RETURN '"version 1"';
END $$;
SELECT wf_upgrade('back');
SELECT version FROM wf.workflows WHERE id = 'back';
ROLLBACK;
SELECT version FROM wf.workflows WHERE id = 'back';

-- Where the paths part.
CREATE FUNCTION other_step(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('another', 'note', '{"what": "never"}');
    RETURN '0';
END $$;
CREATE FUNCTION no_step(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM wf_wait_signal('go'); RETURN '0'; END $$;
CREATE FUNCTION no_wait(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM wf_step('first', 'note'); RETURN '0'; END $$;
CREATE FUNCTION raises(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN 1 / (input->>'zero')::int; END $$;
CREATE FUNCTION writes(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES ('never'); RETURN '0'; END $$;
CREATE FUNCTION two_arguments(one int, two int) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '0'; END $$;
CREATE PROCEDURE fits(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
BEGIN
    CALL wf_step('first', 'note', '{"what": "first"}', result);
    CALL wf_wait_signal('go', NULL, result);
END $$;
SELECT wf_start('flow', '{"zero": 0}', id => 'c');
SELECT until('c', 'waiting');
SELECT f, ok, outcome, expected, found
FROM unnest('{other_step,no_step,no_wait,raises,writes,two_arguments,fits,flow}'::text[]) WITH ORDINALITY AS u(f, n), wf_replay_check('flow', f) c
WHERE c.id = 'c' ORDER BY n;
SELECT count(*) FROM log;
\set VERBOSITY verbose
CREATE OR REPLACE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN other_step(input); END $$;
SELECT wf_upgrade('c');
CREATE OR REPLACE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN no_step(input); END $$;
SELECT wf_upgrade('c');
CREATE OR REPLACE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN raises(input); END $$;
SELECT wf_upgrade('c');
\set VERBOSITY default
SELECT version, status FROM wf.workflows WHERE id = 'c';
SELECT DISTINCT version FROM wf.definitions WHERE workflow = 'flow' ORDER BY 1;

-- What else an instance may stand at: not begun, in a sleep, before a retry, in a wait that ends the workflow.
CREATE FUNCTION stands(at text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_set('progress', '1');
    CASE at
        WHEN 'sleep' THEN PERFORM wf_sleep('1 day');
        WHEN 'retry' THEN PERFORM wf_step('fails', 'SELECT 1 / 0', retry => '{"max_attempts": 2, "first_delay": "1 day"}');
        ELSE NULL;
    END CASE;
    RETURN '1';
END $$;
SELECT wf_start('stands', '{"at": "sleep"}', id => 's-sleep'), wf_start('stands', '{"at": "retry"}', id => 's-retry'),
       wf_start('stands', '{"at": "start"}', id => 's-start', delay => '1 day');
SELECT until('s-sleep', 'waiting'), until('s-retry', 'waiting');
SELECT id, ok, outcome FROM wf_replay_check('stands') ORDER BY id;
SELECT count(*), bool_and(ok) AS ok FROM wf_replay_check('stands', max => 1);
CREATE OR REPLACE FUNCTION stands(at text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF at = 'start' THEN PERFORM wf_step('new', 'note', '{"what": "new"}'); END IF;
    PERFORM wf_set('progress', '1');
    IF at = 'sleep' THEN PERFORM wf_sleep('1 hour'); END IF;
    IF at = 'retry' THEN PERFORM wf_step('fails', 'SELECT 2'); END IF;
    RETURN '2';
END $$;
SELECT id, ok, outcome FROM wf_replay_check('stands') ORDER BY id;
SELECT wf_upgrade('s-sleep'), wf_upgrade('s-retry'), wf_upgrade('s-start');
SELECT id, status, version FROM wf.workflows WHERE id LIKE 's-%' ORDER BY id;
SELECT id, name, status, due_at - started_at > '23 hours' AS as_begun FROM wf.steps WHERE id LIKE 's-%' ORDER BY id, n;
-- A name given by wf_define, for another function by now.
SELECT wf_define('named', 'flow');
CREATE OR REPLACE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('go'); END $$;
SELECT wf_start('named', id => 'named');
SELECT until('named', 'waiting');
CREATE FUNCTION better(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN jsonb_build_array(wf_wait_signal('go'), 'better'); END $$;
SELECT wf_define('named', 'better', '{"retry": {"max_attempts": 7}}');
SELECT id, version, ok, outcome FROM wf_replay_check('named');
SELECT wf_upgrade('named');
SELECT wf_signal('named', 'go', '1');
SELECT wf_result('named', wait => '10 s');
-- Calls begun side by side.
CREATE FUNCTION side(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE h int[];
BEGIN
    h[1] := wf_begin('nap', sleep => '1 day');
    h[2] := wf_begin('call', signal => 'call');
    PERFORM wf_await(h);
    RETURN '1';
END $$;
SELECT wf_start('side', id => 'side');
SELECT until('side', 'waiting');
SELECT id, ok, outcome FROM wf_replay_check('side');
CREATE OR REPLACE FUNCTION side(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE h int;
BEGIN
    h := wf_begin('nap', sleep => '1 day');
    RETURN wf_await(h);
END $$;
SELECT id, ok, outcome, expected, found FROM wf_replay_check('side');
-- An instance at its end, which only waits for what it has begun, has more to do on the new code: at once.
CREATE FUNCTION called(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('call'); END $$;
CREATE FUNCTION lingers(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_begin('called', workflow => 'called');
    RETURN '1';
END $$;
SELECT wf_start('lingers', id => 'lingers');
SELECT until('lingers', 'waiting');
SELECT id, ok, outcome FROM wf_replay_check('lingers');
CREATE OR REPLACE FUNCTION lingers(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_begin('called', workflow => 'called');
    PERFORM wf_step('tell', 'SELECT wf_signal(''lingers/called'', ''call'')');
    RETURN '2';
END $$;
SELECT id, ok, outcome FROM wf_replay_check('lingers');
SELECT wf_upgrade('lingers');
SELECT wf_result('lingers', wait => '10 s');
-- What undoes its work does not call the function any more.
CREATE FUNCTION undoes(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_compensate('undo', 'SELECT 1 / 0', retry => '{"max_attempts": 2, "first_delay": "1 day"}');
    PERFORM wf_step('do', 'SELECT 1 / 0');
    RETURN '1';
END $$;
SELECT wf_start('undoes', id => 'undoes');
SELECT until('undoes', 'compensating');
SELECT count(*) FROM wf_replay_check('undoes');
-- Names in the code keep the meaning that they had at the start.
CREATE SCHEMA a;
CREATE FUNCTION a.who() RETURNS text LANGUAGE sql AS $$ SELECT 'a' $$;
CREATE FUNCTION a.asks() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM wf_wait_signal('go'); RETURN to_jsonb(who()); END $$;
SET search_path = a, public;
SELECT wf_start('asks', id => 'asks');
RESET search_path;
SELECT until('asks', 'waiting');
CREATE OR REPLACE FUNCTION a.asks() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM wf_wait_signal('go'); RETURN to_jsonb('new ' || who()); END $$;
SELECT id, ok, outcome FROM wf_replay_check('asks');
SELECT wf_upgrade('asks');
SELECT wf_signal('asks', 'go');
SELECT wf_result('asks', wait => '10 s');

-- What is refused.
\set VERBOSITY verbose
SELECT wf_upgrade('nobody');
SELECT wf_upgrade('a');
SELECT wf_upgrade(NULL);
SELECT * FROM wf_replay_check('nobody');
SELECT * FROM wf_replay_check('flow', 'nobody');
SELECT * FROM wf_replay_check('flow', max => 0);
SELECT * FROM wf_replay_check(NULL);
BEGIN TRANSACTION READ ONLY;
SELECT count(*) > 0 AS checked FROM wf_replay_check('stands');
SELECT wf_upgrade('s-sleep');
ROLLBACK;
DROP FUNCTION stands;
SELECT wf_upgrade('s-sleep');
SELECT ok, outcome FROM wf_replay_check('stands', max => 1);
CREATE ROLE v_other LOGIN;
SET ROLE v_other;
SELECT wf_upgrade('s-sleep');
SELECT * FROM wf_replay_check('flow');
RESET ROLE;
\set VERBOSITY default
CREATE FUNCTION inside(sql text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF sql LIKE 'step: %' THEN RETURN wf_step('s', substr(sql, 7)); END IF;
    EXECUTE sql;
    RETURN '0';
END $$;
SELECT wf_start('inside', jsonb_build_object('sql', sql), id => 'inside-' || n)
FROM (VALUES (1, 'SELECT wf_upgrade(''c'')'), (2, 'SELECT * FROM wf_replay_check(''flow'')'), (3, 'SELECT wf_purge(''0'')'),
             (4, 'step: SELECT wf_upgrade(''c'')'), (5, 'step: SELECT * FROM wf_replay_check(''flow'')'),
             (6, 'step: SELECT wf_purge(''1 day'')')) AS v(n, sql);
SELECT wf_result('inside-1', wait => '10 s');
SELECT wf_result('inside-2', wait => '10 s');
SELECT wf_result('inside-3', wait => '10 s');
SELECT wf_result('inside-4', wait => '10 s');
SELECT wf_result('inside-5', wait => '10 s');
SELECT wf_result('inside-6', wait => '10 s');

-- Removal. By workflow, by age, by number.
SELECT wf_purge('1 hour');
SELECT wf_purge('0', 'nobody');
SELECT wf_purge('0', 'inside', max => 4);
SELECT wf_purge('0', 'inside', max => 4);
SELECT wf_purge('0', 'inside');
SELECT count(*) FROM wf.workflows WHERE workflow = 'inside';
SELECT id, status FROM wf.workflows ORDER BY id;
SELECT wf_purge('0');
SELECT id, status FROM wf.workflows ORDER BY id;
SELECT count(*) AS steps_of_none FROM wf_internal.steps WHERE run_id NOT IN (SELECT run_id FROM wf_internal.runs);
SELECT count(*) AS signals_of_none FROM wf_internal.signals WHERE run_id NOT IN (SELECT run_id FROM wf_internal.runs);
SELECT wf_status('a');
-- Its id is free again.
SELECT wf_start('better', '5', id => 'a');
SELECT until('a', 'waiting');
SELECT wf_signal('a', 'go', '5');
SELECT wf_result('a', wait => '10 s');
-- The first run of an id stays as long as there are others.
SELECT wf_start('better', id => 'a', on_conflict => 'start_new');
SELECT wf_purge('0');
SELECT run, status = 'completed' AS completed FROM wf.workflows WHERE id = 'a' ORDER BY run;
SELECT until('a', 'waiting');
SELECT wf_signal('a', 'go', '6');
SELECT wf_result('a', wait => '10 s');
SELECT wf_purge('0');
SELECT run FROM wf.workflows WHERE id = 'a';
-- A run that never ends: what lies behind it goes.
CREATE FUNCTION endless(n int) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('s', 'SELECT 1');
    IF n < 5 THEN RETURN wf_continue_as_new(jsonb_build_object('n', n + 1)); END IF;
    RETURN wf_wait_signal('go');
END $$;
SELECT wf_start('endless', '{"n": 1}', id => 'endless');
SELECT until('endless', 'waiting');
SELECT wf_purge('0', 'endless'), wf_purge('0', 'endless');
SELECT run, status FROM wf.workflows WHERE id = 'endless' ORDER BY run;
SELECT wf_signal('endless', 'go', '"end"');
SELECT wf_result('endless', wait => '10 s');
SELECT wf_purge('0', 'endless'), wf_purge('0', 'endless');
-- A child that goes on after its parent is gone; items of a map.
CREATE FUNCTION child(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('go'); END $$;
CREATE FUNCTION parent(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_begin('child', workflow => 'child', on_parent_end => 'abandon');
    RETURN wf_map('m', 'SELECT $1', items => '[1, 2]');
END $$;
SELECT wf_start('parent', id => 'parent');
SELECT wf_result('parent', wait => '10 s');
SELECT wf_purge('0', 'parent');
SELECT until('parent/child', 'waiting');
SELECT wf_signal('parent/child', 'go', '"alone"');
SELECT wf_result('parent/child', wait => '10 s');
SELECT wf_purge('0', 'child');
SELECT (SELECT count(*) FROM wf_internal.answers) AS answers, (SELECT count(*) FROM wf_internal.branches) AS branches;
-- No timer outlives its run.
SELECT wf_start('inside', '{"sql": "SELECT wf_sleep(''1 day'')"}', id => 'expires', timeout => '50 ms');
SELECT until('expires', 'failed');
SELECT wf_start('inside', '{"sql": "SELECT"}', id => 'late', delay => '1 day'), wf_cancel('late');
SELECT wf_result('late', wait => '10 s');
SELECT count(*) FROM wf_internal.timers t JOIN wf_internal.runs r USING (run_id) WHERE r.id IN ('expires', 'late');
-- What is refused.
\set VERBOSITY verbose
SELECT wf_purge('-1 day');
SELECT wf_purge('1 day', max => 0);
SELECT wf_purge(NULL);
SELECT wf_purge('1 day', max => NULL);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT wf_purge('1 day');
ROLLBACK;
BEGIN TRANSACTION READ ONLY;
SELECT wf_purge('1 day');
ROLLBACK;
\set VERBOSITY default

-- Old versions go when nobody needs them, with what was restored of them.
CREATE FUNCTION old(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN jsonb_build_array(1, wf_wait_signal('go')); END $$;
SELECT wf_start('old', id => 'old-1'), wf_start('old', id => 'old-2');
SELECT until('old-1', 'waiting'), until('old-2', 'waiting');
CREATE OR REPLACE FUNCTION old(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN jsonb_build_array(2, wf_wait_signal('go')); END $$;
SELECT wf_start('old', id => 'old-3');
SELECT wf_signal('old-1', 'go');
SELECT wf_result('old-1', wait => '10 s');
SELECT version, open_instances, finished_instances, is_current, is_restored FROM wf.definitions WHERE workflow = 'old' ORDER BY version;
SELECT wf_purge('0', 'old');
SELECT version, open_instances, finished_instances, is_current, is_restored FROM wf.definitions WHERE workflow = 'old' ORDER BY version;
SELECT wf_upgrade('old-2');
-- Other processes' transactions may put it off.
DO $$
BEGIN
    FOR i IN 1..1000 LOOP
        PERFORM wf_purge('0', 'old');
        EXIT WHEN NOT EXISTS (SELECT FROM wf.definitions WHERE workflow = 'old' AND version = 1);
        COMMIT;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT version, open_instances, finished_instances, is_current, is_restored FROM wf.definitions WHERE workflow = 'old' ORDER BY version;
SELECT count(*) FROM pg_proc WHERE pronamespace = 'wf_versions'::regnamespace AND pg_get_functiondef(oid) LIKE '%jsonb_build_array(1, wf_wait_signal%';
-- The newest one stays, so that no number is given twice.
SELECT wf_signal('old-2', 'go'), wf_signal('old-3', 'go');
SELECT wf_result('old-2', wait => '10 s'), wf_result('old-3', wait => '10 s');
DROP FUNCTION old;
SELECT wf_purge('0', 'old');
SELECT version, open_instances, is_current FROM wf.definitions WHERE workflow = 'old' ORDER BY version;
CREATE FUNCTION old(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '3'; END $$;
SELECT wf_start('old', id => 'old-4');
SELECT version FROM wf.workflows WHERE id = 'old-4';
DROP ROLE v_other;
