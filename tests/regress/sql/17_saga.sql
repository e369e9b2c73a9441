-- Compensation: what was done is undone, the last first, when the workflow fails or is cancelled, or on demand.
-- Whether an error's context names the expression depends on how steps share transactions.
\set SHOW_CONTEXT never
CREATE TABLE log (n serial, what text);
CREATE FUNCTION note(what text) RETURNS void LANGUAGE sql AS 'INSERT INTO log (what) VALUES (what)';
CREATE FUNCTION saga(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('a', 'note', '{"what": "a"}');
    PERFORM wf_compensate('undo a', 'note', '{"what": "undo a"}');
    PERFORM wf_step('b', 'note', '{"what": "b"}');
    PERFORM wf_compensate('undo b', 'note', '{"what": "undo b"}');
    IF input->>'how' = 'wait' THEN PERFORM wf_wait_signal('go'); END IF;
    IF input->>'how' = 'roll back' THEN RETURN wf_rollback(); END IF;
    IF input->>'how' = 'fail' THEN PERFORM wf_step('c', 'SELECT 1 / 0'); END IF;
    RETURN '"fine"';
END $$;
SELECT wf_start('saga', '{"how": "fail"}', id => 'fails');
SELECT wf_result('fails', wait => '10 s');
SELECT what FROM log ORDER BY n;
SELECT status, error FROM wf.workflows WHERE id = 'fails';
SELECT wf_get('fails')->'error'->'compensated';
SELECT name, kind, status, attempt FROM wf.steps WHERE id = 'fails' ORDER BY n;

TRUNCATE log;
SELECT wf_start('saga', '{"how": "wait"}', id => 'cancelled');
DO $$ BEGIN FOR i IN 1..1000 LOOP EXIT WHEN wf_status('cancelled') = 'waiting'; PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT wf_cancel('cancelled', 'no more');
SELECT wf_result('cancelled', wait => '10 s');
SELECT what FROM log ORDER BY n;

TRUNCATE log;
SELECT wf_start('saga', '{"how": "roll back"}', id => 'back');
SELECT wf_result('back', wait => '10 s');
SELECT what FROM log ORDER BY n;

TRUNCATE log;
SELECT wf_start('saga', '{"how": "go on"}', id => 'fine');
SELECT wf_result('fine', wait => '10 s');
SELECT what FROM log ORDER BY n;

-- An undo is tried again, and one that fails for good is recorded; the rest are run all the same.
TRUNCATE log;
CREATE SEQUENCE tries;
CREATE FUNCTION flaky() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('tries') < 3 THEN RAISE 'not yet'; END IF;
    INSERT INTO log (what) VALUES ('flaky');
END $$;
CREATE FUNCTION hard(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_compensate('first', 'note', '{"what": "first"}');
    PERFORM wf_compensate('broken', 'SELECT 1 / 0');
    PERFORM wf_compensate('flaky', 'flaky', retry => '{"max_attempts": 5, "first_delay": "10 ms"}');
    RAISE 'gives up';
END $$;
SELECT wf_start('hard', id => 'hard');
SELECT wf_result('hard', wait => '10 s');
SELECT what FROM log ORDER BY n;
SELECT jsonb_pretty(wf_get('hard')->'error'->'compensated');
SELECT name, status, attempt FROM wf.steps WHERE id = 'hard' ORDER BY n;

-- A run out of time is undone too.
TRUNCATE log;
SELECT wf_start('saga', '{"how": "wait"}', id => 'late', timeout => '200 ms');
DO $$ BEGIN PERFORM wf_result('late', wait => '10 s'); EXCEPTION WHEN SQLSTATE 'WF003' THEN RAISE NOTICE 'out of time'; END $$;
SELECT what FROM log ORDER BY n;

-- So is what was done just before its time was over, though the function had no turn to say so: it pauses itself in the step.
TRUNCATE log;
CREATE FUNCTION tired(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('a', $sql$ WITH a AS (INSERT INTO log (what) VALUES ('a')) SELECT wf_pause('tired'), pg_sleep(0.06) $sql$);
    PERFORM wf_compensate('undo a', 'note', '{"what": "undo a"}');
    PERFORM wf_step('b', 'note', '{"what": "b"}');
    RETURN '"done"';
END $$;
SELECT wf_start('tired', id => 'tired', timeout => '500 ms');
DO $$ BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN EXISTS (SELECT FROM wf.workflows WHERE id = 'tired' AND status = 'paused' AND deadline < clock_timestamp());
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT wf_resume('tired');
DO $$ BEGIN PERFORM wf_result('tired', wait => '10 s'); EXCEPTION WHEN SQLSTATE 'WF003' THEN RAISE NOTICE 'out of time'; END $$;
SELECT what FROM log ORDER BY n;

-- Wrong use.
SELECT wf_compensate('x', 'note');
SELECT wf_rollback();

-- One that takes long has a transaction of its own, in a rollback that is asked for, too.
CREATE FUNCTION slow_undo() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_compensate('slow', 'SELECT pg_sleep(0.2)');
    PERFORM wf_compensate('quick', 'SELECT 1');
    RETURN wf_rollback();
END $$;
SELECT wf_start('slow_undo', id => 'slow');
SELECT wf_result('slow', wait => '10 s');
