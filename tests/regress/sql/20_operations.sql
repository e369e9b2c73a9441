-- Operations on instances: pause, single step, retry, fork.
CREATE TABLE log (n int GENERATED ALWAYS AS IDENTITY, note text);
CREATE TABLE broken (what text);
CREATE FUNCTION note(text text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM broken WHERE what = text) THEN RAISE EXCEPTION '% is broken', text USING ERRCODE = 'P0042'; END IF;
    INSERT INTO log (note) VALUES (text);
    RETURN text;
END $$;
CREATE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('first', 'note', jsonb_build_object('text', input->>'n' || ' first'));
    PERFORM wf_wait_signal('go');
    PERFORM wf_step('second', 'note', jsonb_build_object('text', input->>'n' || ' second'));
    RETURN input;
END $$;
-- Waits until a query gives true.
CREATE PROCEDURE until(query text) LANGUAGE plpgsql AS $$
DECLARE
    reached boolean;
BEGIN
    FOR i IN 1..1000 LOOP
        EXECUTE query INTO reached;
        IF reached THEN RETURN; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RAISE 'not reached: %', query;
END $$;

-- An instance: what arrives is kept, and nothing is run.
SELECT wf_start('flow', '{"n": "one"}', id => 'one');
CALL until($$ SELECT wf_status('one') = 'waiting' $$);
SELECT wf_pause('one', reason => 'stock-taking');
SELECT wf_pause('one', reason => 'again');
SELECT status, waiting_for FROM wf.workflows WHERE id = 'one';
SELECT wf_status('one'), wf_get('one')->>'status' AS status, wf_get('one')->>'waiting_for' AS waiting_for;
SELECT wf_result('one');
SELECT wf_signal('one', 'go');
CALL until($$ SELECT parked = 1 FROM wf.pauses WHERE id = 'one' $$);
SELECT id, workflow, owner, paused_by, reason, parked FROM wf.pauses;
SELECT name, status FROM wf.steps WHERE id = 'one' ORDER BY n;
SELECT count(*) FROM wf_internal.ready;
SELECT wf_resume('one', reason => 'counted');
SELECT wf_resume('one');
SELECT wf_result('one', wait => '10 s');
SELECT wf_pause('one');

-- A workflow, with what is started later.
SELECT wf_pause(workflow => 'flow');
SELECT wf_start('flow', '{"n": "two"}', id => 'two');
SELECT wf_start('flow', '{"n": "three"}', id => 'three');
SELECT id, status, waiting_for FROM wf.workflows WHERE id IN ('two', 'three') ORDER BY id;
CALL until($$ SELECT parked = 2 FROM wf.pauses $$);
SELECT count(*) FROM wf.steps WHERE id IN ('two', 'three');
-- Two pauses: the other one still holds.
SELECT wf_pause('two');
SELECT wf_resume(workflow => 'flow');
CALL until($$ SELECT wf_status('three') = 'waiting' $$);
CALL until($$ SELECT parked = 1 FROM wf.pauses $$);
SELECT id, status FROM wf.workflows WHERE id IN ('two', 'three') ORDER BY id;
SELECT wf_resume('two');
CALL until($$ SELECT wf_status('two') = 'waiting' $$);

-- Everything.
SELECT wf_pause(reason => 'night');
SELECT wf_signal('two', 'go'), wf_signal('three', 'go');
CALL until($$ SELECT parked = 2 FROM wf.pauses $$);
SELECT id, status, waiting_for FROM wf.workflows ORDER BY id;
SELECT wf_resume();
SELECT wf_result('two', wait => '10 s'), wf_result('three', wait => '10 s');
SELECT * FROM wf.pauses;

-- A cancel reaches a paused instance, and it cleans up.
CREATE FUNCTION cleans(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_wait_signal('go');
EXCEPTION WHEN SQLSTATE 'WF002' THEN
    PERFORM wf_step('tidy', 'note', '{"text": "tidied"}');
    PERFORM wf_sleep('0.01 s');
    PERFORM wf_step('sweep', 'note', '{"text": "swept"}');
    RAISE;
END $$;
SELECT wf_start('cleans', id => 'cancelled');
CALL until($$ SELECT wf_status('cancelled') = 'waiting' $$);
SELECT wf_pause('cancelled');
SELECT wf_cancel('cancelled', 'enough');
SELECT wf_result('cancelled', wait => '10 s');
SELECT note FROM log WHERE note IN ('tidied', 'swept') ORDER BY n;
CALL until('SELECT NOT EXISTS (SELECT FROM wf.pauses)');

-- Single steps, in this session.
SELECT wf_start('flow', '{"n": "four"}', id => 'four', delay => '2 s');
SELECT wf_step('four');
SELECT wf_pause('four');
SELECT wf_step('four') AS too_early;
CALL until($$ SELECT start_at < clock_timestamp() FROM wf_internal.runs WHERE id = 'four' $$);
BEGIN;
SELECT wf_step('four');
SELECT note FROM log WHERE note LIKE 'four%';
ROLLBACK;
SELECT note FROM log WHERE note LIKE 'four%';
SELECT wf_step('four');
SELECT wf_step('four');
SELECT wf_step('four') AS nothing_new;
SELECT wf_signal('four', 'go');
SELECT wf_step('four');
INSERT INTO broken VALUES ('four second');
SELECT wf_step('four');
SELECT wf_step('four');
SELECT wf_step('four');
SELECT note FROM log WHERE note LIKE 'four%';
SELECT * FROM wf.pauses;

-- Retry: from the failed step, not from the start.
SELECT wf_retry('four');
SELECT wf_result('four', wait => '10 s');
TRUNCATE broken;
SELECT wf_retry('four', 'the note is mended');
SELECT wf_result('four', wait => '10 s');
SELECT name, status, attempt FROM wf.steps WHERE id = 'four' ORDER BY n;
SELECT note FROM log WHERE note LIKE 'four%' ORDER BY n;
SELECT wf_retry('four');
SELECT wf_start('flow', '{"n": "open"}', id => 'open');
CALL until($$ SELECT wf_status('open') = 'waiting' $$);
SELECT wf_retry('open');
SELECT wf_retry('nobody');
-- Caught and noted: the values behind the failed step go with it.
CREATE FUNCTION notes(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_set('state', '"begun"');
    PERFORM wf_step('bad', 'note', '{"text": "bad"}');
    PERFORM wf_set('state', '"done"');
    RETURN input;
EXCEPTION WHEN SQLSTATE 'P0042' THEN
    PERFORM wf_set('state', '"failed"');
    RAISE;
END $$;
INSERT INTO broken VALUES ('bad');
SELECT wf_start('notes', id => 'notes');
SELECT wf_result('notes', wait => '10 s');
TRUNCATE broken;
SELECT wf_retry('notes');
SELECT wf_result('notes', wait => '10 s');
SELECT kind, name, status, result FROM wf.steps WHERE id = 'notes' ORDER BY n;
-- Its own code has failed: it is asked again.
CREATE FUNCTION looks(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('once', 'note', '{"text": "once"}');
    IF EXISTS (SELECT FROM broken) THEN RAISE EXCEPTION 'own code'; END IF;
    RETURN input;
END $$;
INSERT INTO broken VALUES ('code');
SELECT wf_start('looks', id => 'looks');
SELECT wf_result('looks', wait => '10 s');
TRUNCATE broken;
SELECT wf_retry('looks');
SELECT wf_result('looks', wait => '10 s');
SELECT count(*) FROM log WHERE note = 'once';
-- Timed out: with its timeout once more.
SELECT wf_start('flow', '{"n": "late"}', id => 'late', timeout => '1 s');
CALL until($$ SELECT wf_status('late') = 'failed' $$);
SELECT sqlstate FROM wf.workflows WHERE id = 'late';
SELECT wf_retry('late');
SELECT deadline > now() AS anew, deadline < now() + interval '1.1 s' AS once FROM wf.workflows WHERE id = 'late';
SELECT wf_signal('late', 'go');
SELECT wf_result('late', wait => '10 s');
SELECT name, status FROM wf.steps WHERE id = 'late' ORDER BY n;
-- Cancelled by mistake.
SELECT wf_start('flow', '{"n": "back"}', id => 'back');
CALL until($$ SELECT wf_status('back') = 'waiting' $$);
SELECT wf_cancel('back', 'oops');
SELECT wf_result('back', wait => '10 s');
SELECT wf_retry('back');
SELECT wf_signal('back', 'go');
SELECT wf_result('back', wait => '10 s');

-- Fork: the same history up to a step, then its own way.
SELECT wf_fork('two', 'second', 'two-b');
SELECT wf_result('two-b', wait => '10 s');
SELECT name, status FROM wf.steps WHERE id = 'two-b' ORDER BY n;
SELECT note, count(*) FROM log WHERE note LIKE 'two%' GROUP BY 1 ORDER BY 1;
-- By number, with another input, on the code of today.
CREATE OR REPLACE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('first', 'note', jsonb_build_object('text', input->>'n' || ' first'));
    PERFORM wf_wait_signal('go');
    PERFORM wf_step('second', 'note', jsonb_build_object('text', input->>'n' || ' second, new'));
    RETURN input || '{"new": true}';
END $$;
SELECT wf_fork('two', 3, 'two-c', input => '{"n": "2"}', newest => true);
SELECT wf_fork('two', 4, 'two-d');
SELECT wf_result('two-c', wait => '10 s'), wf_result('two-d', wait => '10 s');
SELECT id, version FROM wf.workflows WHERE id LIKE 'two%' ORDER BY id;
SELECT note FROM log WHERE note LIKE '2%' ORDER BY n;
-- What is open is not taken along: the original waits for its signal, the fork for one of its own.
CALL until($$ SELECT wf_status('open') = 'waiting' $$);
SELECT wf_fork('open', 3, 'open-b');
CALL until($$ SELECT wf_status('open-b') = 'waiting' $$);
SELECT id, name, status FROM wf.steps WHERE id LIKE 'open%' ORDER BY id, n;
SELECT wf_signal('open-b', 'go');
SELECT wf_result('open-b', wait => '10 s');
SELECT wf_status('open');
SELECT wf_cancel('open');
BEGIN;
SELECT wf_fork('two', 'second') ~ '^[0-9a-f-]{36}$' AS named;
ROLLBACK;
SELECT wf_fork('two', 'third');
SELECT wf_fork('two', 0);
SELECT wf_fork('two', 5);
SELECT wf_fork('two', 'second', 'two');
SELECT wf_fork('nobody', 'second');
CREATE FUNCTION typed(amount integer) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('s', 'SELECT 1');
    RETURN amount;
END $$;
SELECT wf_start('typed', '{"amount": 1}', id => 'typed');
SELECT wf_result('typed', wait => '10 s');
SELECT wf_fork('typed', 's', 'typed-b', input => '{"amount": "x"}');
SELECT wf_fork('typed', 's', 'typed-b', input => '{"sum": 1}');
SELECT wf_fork('typed', 's', 'typed-b', input => '{"amount": 2}');
SELECT wf_result('typed-b', wait => '10 s');
DROP FUNCTION typed;
SELECT wf_fork('typed', 's', 'typed-c', newest => true);

-- In bulk: all of them take one id.
INSERT INTO broken SELECT 'b' || i || ' first' FROM generate_series(1, 5) i;
SELECT count(wf_start('flow', jsonb_build_object('n', 'b' || i), id => 'bulk-' || i)) FROM generate_series(1, 5) i;
CALL until($$ SELECT count(*) = 5 FROM wf.workflows WHERE id LIKE 'bulk-%' AND status = 'failed' $$);
TRUNCATE broken;
SELECT count(wf_retry(id)) FROM wf.workflows WHERE id LIKE 'bulk-%' AND status = 'failed';
CALL until($$ SELECT count(*) = 5 FROM wf.workflows WHERE id LIKE 'bulk-%' AND status = 'waiting' $$);
SELECT count(*) FROM wf.workflows WHERE id LIKE 'bulk-%' AND wf_pause(id);
SELECT count(*) FROM wf.workflows WHERE status = 'paused' AND wf_resume(id);

-- What makes no sense.
SELECT wf_pause(NULL);
SELECT wf_resume(NULL);
SELECT wf_pause('one', workflow => 'flow');
SELECT wf_pause('nobody');
SELECT wf_resume('nobody');
SELECT wf_pause(workflow => 'no_such_flow');
SELECT wf_step('one');
SELECT wf_step('nobody');
SELECT wf_resume(workflow => 'flow');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT wf_resume();
ROLLBACK;
BEGIN READ ONLY;
SELECT wf_retry('four');
ROLLBACK;
CREATE FUNCTION inside(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN to_jsonb(wf_pause('one'));
END $$;
SELECT wf_start('inside', id => 'inside');
SELECT wf_result('inside', wait => '10 s');
CREATE OR REPLACE FUNCTION inside(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('one');
END $$;
SELECT wf_start('inside', id => 'inside-2');
SELECT wf_result('inside-2', wait => '10 s');

-- The record.
SELECT by, action, id, reason, detail FROM wf.actions WHERE id IS NULL OR id NOT LIKE 'bulk-%';
SELECT action, count(*) FROM wf.actions WHERE id LIKE 'bulk-%' GROUP BY 1 ORDER BY 1;
