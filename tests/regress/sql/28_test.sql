-- Tests of workflows: from beginning to end in the caller's transaction, on a simulated clock, and nothing stays.
CREATE TABLE orders (id int PRIMARY KEY, state text NOT NULL DEFAULT 'new');
CREATE FUNCTION charge(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RAISE 'the real card service was called';
END $$;
CREATE FUNCTION order_flow(order_id int) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    payment  jsonb;
    approval jsonb;
BEGIN
    PERFORM wf_step('insert', 'INSERT INTO orders VALUES ($1::int)', to_jsonb(order_id));
    payment := wf_step('charge', 'charge', retry => '{"max_attempts": 3, "first_delay": "1 min"}');
    approval := wf_wait_signal('approval', timeout => '3 days');
    IF approval IS NULL THEN
        PERFORM wf_step('reject', 'UPDATE orders SET state = ''rejected'' WHERE id = $1::int RETURNING state', to_jsonb(order_id));
        RETURN '{"status": "rejected"}';
    END IF;
    PERFORM wf_set('approved by', approval->'by');
    PERFORM wf_emit('news', '"approved"');
    PERFORM wf_sleep('1 hour');
    PERFORM wf_emit('news', '"shipped"');
    PERFORM wf_step('ship', 'UPDATE orders SET state = ''shipped'' WHERE id = $1::int RETURNING state', to_jsonb(order_id));
    RETURN jsonb_build_object('status', 'shipped', 'payment', payment, 'at', wf_now());
END $$;
-- What the tables hold; nothing may be left of what follows.
CREATE FUNCTION left_over() RETURNS TABLE (relation text, rows bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOREACH relation IN ARRAY '{runs,steps,branches,answers,ready,timers,signals,controls,definitions}'::text[] LOOP
        EXECUTE format('SELECT count(*) FROM wf_internal.%I', relation) INTO rows;
        IF rows > 0 THEN RETURN NEXT; END IF;
    END LOOP;
END $$;

-- The whole of it.
SELECT jsonb_pretty(wf_test('order_flow', '{"order_id": 1}', starts_at => '2026-01-01 09:00+00',
    signals => '[{"name": "approval", "payload": {"by": "ann"}, "after": "2 days"}]',
    mocks => '{"charge": {"fail": {"sqlstate": "40001", "message": "busy"}, "times": 2, "result": {"amount": 19.90}}}'));
SELECT count(*) FROM orders;
SELECT * FROM left_over();
-- Nobody approves.
SELECT t->'status' AS status, t->'result' AS result, (t->>'took')::interval = '3 days' AS took, t->'unused' AS unused
FROM wf_test('order_flow', '{"order_id": 1}', mocks => '{"charge": {"result": {}}}') t;
-- A signal that comes before it is waited for is kept; one at the very end of the timeout is in time; one behind it is too late.
SELECT after, t->'result'->'status' AS status, t->>'took' AS took, t->'unused' AS unused
FROM unnest('{0,3 days,3 days 00:00:01}'::text[]) after,
     wf_test('order_flow', '{"order_id": 1}', mocks => '{"charge": {"result": {}}}', signals => jsonb_build_array(jsonb_build_object('name', 'approval', 'payload', '{"by": "ann"}'::jsonb, 'after', after))) t;
-- The card service stays away: three attempts, then the error is the workflow's.
SELECT t->'status' AS status, (t->'error') - 'context' AS error, t->>'took' AS took, t->'steps'->1 AS charge
FROM wf_test('order_flow', '{"order_id": 1}', mocks => '{"charge": {"fail": {"sqlstate": "P0042", "message": "declined", "detail": "No money.", "hint": "Earn some."}}}') t;
-- Without a mock a step is run for real.
SELECT t->'status' AS status, t->'error'->'message' AS error, t->'steps'->0 AS insert FROM wf_test('order_flow', '{"order_id": 1}') t;
-- Stopped on the way, and waiting for what does not come.
SELECT t->'status' AS status, t ? 'result' AS result, t->'waiting_for' AS waiting_for, t->>'took' AS took, t->'steps'->2 AS wait
FROM wf_test('order_flow', '{"order_id": 1}', until => '1 day', starts_at => '2026-01-01', mocks => '{"charge": {"result": {}}}') t;
CREATE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('go'); END $$;
SELECT t->'status' AS status, t->'waiting_for' AS waiting_for, t->>'took' AS took FROM wf_test('waits') t;
SELECT t->'status' AS status, t->'waiting_for' AS waiting_for, t->>'took' AS took FROM wf_test('waits', until => '1 day') t;
SELECT t->'result' AS result, t->>'took' AS took FROM wf_test('waits', until => '1 day', signals => '[{"name": "go", "payload": 1.50, "after": "1 day"}]') t;
SELECT t->'status' AS status, t->'unused' AS unused FROM wf_test('waits', signals => '[{"name": "go", "after": "1 min"}, {"name": "went"}, {"name": "go"}]', mocks => '{"x": {"result": 1}, "y": [null, {"fail": {}}]}') t;
SELECT t->>'took' AS took FROM wf_test('waits', starts_at => '2026-02-01', signals => '[{"name": "go", "after": "1 month"}]') t;
-- A timeout that was not needed is not waited for.
CREATE FUNCTION waits_twice(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_wait_signal('go', timeout => '1 day');
    RETURN wf_wait_signal('never');
END $$;
SELECT t->'waiting_for' AS waiting_for, t->>'took' AS took FROM wf_test('waits_twice', signals => '[{"name": "go", "after": "1 hour"}]') t;
-- Cancelled: the workflow cleans up.
CREATE FUNCTION cleans_up(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_sleep('10 days');
    RETURN '"slept"';
EXCEPTION WHEN SQLSTATE 'WF002' THEN
    PERFORM wf_step('clean up', 'SELECT 1');
    RAISE;
END $$;
SELECT t->'status' AS status, t->'error'->'sqlstate' AS error, t->>'took' AS took, t->'steps' AS steps FROM wf_test('cleans_up', cancel_after => '1 day') t;
SELECT t->'status' AS status, t->'result' AS result, t->>'took' AS took FROM wf_test('cleans_up', cancel_after => '11 days') t;
SELECT t->'status' AS status, t->'steps' AS steps FROM wf_test('cleans_up', cancel_after => '0') t;
-- Simulated time: wf_now, times of the calendar, the deadline of a run.
CREATE FUNCTION monthly(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    t timestamptz := wf_now();
BEGIN
    PERFORM wf_sleep('1 month');
    PERFORM wf_sleep_until(t + interval '1 year');
    RETURN jsonb_build_array(t, wf_now());
END $$;
SELECT t->'result' AS result, t->>'took' AS took FROM wf_test('monthly', starts_at => '2024-02-29 12:00+00') t;
SELECT wf_define('in a week', 'monthly', '{"timeout": "7 days"}');
SELECT t->'status' AS status, t->'error'->'sqlstate' AS error, t->>'took' AS took, t->'steps'->1->'status' AS sleep FROM wf_test('in a week') t;
SELECT wf_undefine('in a week');
DELETE FROM wf_internal.definitions;
-- Occurrences: each has its mock, or is run.
CREATE FUNCTION loops(n int) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    results jsonb := '[]';
BEGIN
    FOR i IN 1..n LOOP
        BEGIN
            results := results || jsonb_build_array(wf_step('one', 'SELECT ''real'' AS x'));
        EXCEPTION WHEN raise_exception THEN
            results := results || to_jsonb(SQLERRM);
        END;
    END LOOP;
    RETURN results;
END $$;
SELECT t->'result' AS result, t->'unused' AS unused FROM wf_test('loops', '{"n": 4}', mocks => '{"one": [{"result": null}, null, {"fail": {"message": "third"}}]}') t;
SELECT t->'result' AS result, t->'unused' AS unused FROM wf_test('loops', '{"n": 2}', mocks => '{"one": {"result": [1]}}') t;
SELECT t->'result' AS result, t->'unused' AS unused FROM wf_test('loops', '{"n": 1}', mocks => '{"one": [{"fail": {}}, {"result": 2}]}') t;
-- Failures are counted for each occurrence; without jitter.
CREATE FUNCTION retries(n int) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..n LOOP
        PERFORM wf_step('one', 'SELECT 1', retry => '{"first_delay": "1 h", "jitter": 1}');
    END LOOP;
    RETURN to_jsonb(n);
END $$;
SELECT t->'result' AS result, t->>'took' AS took, t->'steps' AS steps FROM wf_test('retries', '{"n": 2}', mocks => '{"one": {"fail": {}, "times": 2}}') t;
-- A procedure.
CREATE PROCEDURE proc(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
BEGIN
    CALL wf_step('one', 'INSERT INTO orders VALUES (7)', '{}', result);
    PERFORM wf_sleep('1 day');
    CALL wf_wait_signal('go', '1 day', result);
    CALL wf_step('count', 'SELECT count(*) FROM orders', '{}', result);
END $$;
SELECT t->'status' AS status, t->'result' AS result, t->>'took' AS took FROM wf_test('proc') t;
-- Instances that a step starts are run too, by the same clock.
CREATE FUNCTION parent(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('start', 'SELECT wf_start(''child'', id => ''child'', delay => ''1 day'', input => $1)', '{"parent": "p"}');
    RETURN wf_wait_signal('child');
END $$;
CREATE FUNCTION child(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_sleep('1 day');
    PERFORM wf_step('tell', 'SELECT wf_signal(id, ''child'', ''"done"'') FROM wf.workflows WHERE workflow = ''parent''');
    RETURN '1';
END $$;
SELECT t->'result' AS result, t->>'took' AS took, t->'started' AS started FROM wf_test('parent', '{}') t;
-- Work side by side, children, what undoes, the next run of the id: all of it is of the test.
CREATE FUNCTION fans_out(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    begun  int[];
    mapped jsonb;
BEGIN
    FOR i IN 1..2 LOOP
        begun := begun || wf_begin('aside', 'SELECT ''real''', retry => '{"first_delay": "1 min"}');
    END LOOP;
    mapped := wf_map('each', 'SELECT $1::int * 10', input->'items', max_parallel => 2);
    RETURN jsonb_build_array(mapped, wf_await(begun[1]), wf_await(begun[2]));
END $$;
SELECT t->'status' AS status, t->'result' AS result, t->>'took' AS took, t->'unused' AS unused
FROM wf_test('fans_out', '{"items": [1, 2, 3]}',
             mocks => '{"aside": [{"fail": {}, "times": 2}, {"result": "second"}], "each": [null, {"result": "two"}]}') t;
CREATE FUNCTION calls(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_compensate('undo', 'SELECT ''undone''');
    RETURN wf_call('sub', 'sleeps_and_works', input);
END $$;
CREATE FUNCTION sleeps_and_works(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_sleep('2 days');
    RETURN wf_step('work', 'SELECT ''real''');
END $$;
SELECT t->'result' AS result, t->>'took' AS took, t->'started'->0->'steps' AS child FROM wf_test('calls', mocks => '{"work": {"result": 1}}') t;
SELECT t->'status' AS status, t->'error'->'message' AS error, t->'steps'->0->'name' AS name, t->'steps'->0->'status' AS undo
FROM wf_test('calls', mocks => '{"work": {"fail": {}}}') t;
CREATE FUNCTION daily(n int) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_sleep('1 day');
    IF n < 3 THEN
        PERFORM wf_continue_as_new(jsonb_build_object('n', n + 1));
    END IF;
    RETURN jsonb_build_array(n, wf_wait_signal('go'));
END $$;
SELECT t->'status' AS status, t->'result' AS result, t->>'took' AS took, jsonb_array_length(t->'started') AS before
FROM wf_test('daily', '{"n": 1}', signals => '[{"name": "go", "payload": 7, "after": "1 hour"}]') t;
-- The error of a step is not the caller's, and a step's changes are seen by the next.
CREATE FUNCTION conflicts(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('first', 'INSERT INTO orders VALUES (1)');
    PERFORM wf_step('second', 'INSERT INTO orders VALUES (1)');
    RETURN '1';
END $$;
SELECT t->'status' AS status, t->'error'->'sqlstate' AS error, t->'steps'->1->'error'->'message' AS step FROM wf_test('conflicts') t;
SELECT * FROM left_over();

-- In a transaction block, in a function, in a DO block, again and again.
BEGIN;
INSERT INTO orders VALUES (1, 'mine');
SELECT t->'status' AS status, t->'error'->'sqlstate' AS error FROM wf_test('order_flow', '{"order_id": 1}') t;
SAVEPOINT s;
SELECT t->'result'->'status' AS status FROM wf_test('order_flow', '{"order_id": 2}', mocks => '{"charge": {"result": {}}}') t;
ROLLBACK TO s;
SELECT * FROM orders;
DO $$
BEGIN
    FOR i IN 1..50 LOOP
        ASSERT wf_test('order_flow', '{"order_id": 2}', mocks => '{"charge": {"result": {}}}')->'result' = '{"status": "rejected"}';
    END LOOP;
    BEGIN
        PERFORM wf_test('order_flow', '{"order_id": "x"}');
    EXCEPTION WHEN OTHERS THEN
        RAISE NOTICE '%: %', SQLSTATE, SQLERRM;
    END;
    -- The clock goes on as before.
    ASSERT wf_test('monthly', starts_at => '2000-01-01')->>'took' = '366 days';
    ASSERT (wf_test('monthly', until => '0')->'steps'->0->>'result')::timestamptz BETWEEN now() AND clock_timestamp();
END $$;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT t->'result'->'status' AS status FROM wf_test('order_flow', '{"order_id": 2}', mocks => '{"charge": {"result": {}}}') t;
COMMIT;
SELECT * FROM left_over();

-- Other pending work of the role is left alone, even if the test signals it.
BEGIN;
SELECT wf_start('waits', id => 'mine');
CREATE FUNCTION signals_mine(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('signal', 'SELECT wf_signal(''mine'', ''go'', ''1'')'); END $$;
SELECT t->'status' AS status, t->'result' AS result, t->'started' AS started FROM wf_test('signals_mine') t;
SELECT wf_status('mine');
SELECT count(*) FROM wf_internal.ready;
CALL wf_run_pending();
SELECT wf_status('mine');
ROLLBACK;
-- What the transaction has started itself still tells its executor at commit.
SELECT wf_start('loops', '{"n": 1}', id => 'before');
BEGIN;
SELECT wf_start('loops', '{"n": 1}', id => 'around');
SELECT t->'result' AS result FROM wf_test('loops', '{"n": 1}') t;
COMMIT;
SELECT wf_result('before', wait => '10 s'), wf_result('around', wait => '10 s');
-- Nothing is noted in the transaction that PREPARE would refuse. (It is refused for want of a setting.)
BEGIN;
SELECT t->'result' AS result FROM wf_test('loops', '{"n": 1}') t;
\set VERBOSITY terse
PREPARE TRANSACTION 'x';
\set VERBOSITY default

-- Refused.
SELECT wf_test('nothing');
SELECT wf_test('order_flow', '{"order": 1}');
SELECT wf_test(NULL);
SELECT wf_test('loops', mocks => NULL);
SELECT wf_test('loops', '{"n": 1}', mocks => '[]');
SELECT wf_test('loops', '{"n": 1}', mocks => '{"one": {"reslt": 1}}');
SELECT wf_test('loops', '{"n": 1}', mocks => '{"one": [null, {}]}');
SELECT wf_test('loops', '{"n": 1}', mocks => '{"one": {"fail": {"sqlstate": "x"}}}');
SELECT wf_test('loops', '{"n": 1}', signals => '{}');
SELECT wf_test('loops', '{"n": 1}', signals => '[{"name": "a"}, {"nam": "b"}]');
SELECT wf_test('loops', '{"n": 1}', signals => '[{"name": "a", "after": "soon"}]');
SELECT wf_test('loops', '{"n": 1}', until => '-1 s');
SELECT wf_test('loops', '{"n": 1}', cancel_after => '-1 s');
SELECT wf_test('loops', '{"n": 1}', starts_at => 'infinity');
SELECT wf_test('loops', '{"n": 1}', max_turns => 0);
BEGIN READ ONLY;
SELECT wf_test('loops', '{"n": 1}');
ROLLBACK;
-- Without an end: by steps, by sleeps.
CREATE FUNCTION endless(how text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        IF how = 'steps' THEN PERFORM wf_step('one', 'SELECT 1'); ELSE PERFORM wf_sleep('1 h'); END IF;
    END LOOP;
END $$;
SELECT wf_test('endless', '{"how": "steps"}', max_turns => 100);
SELECT wf_test('endless', '{"how": "sleeps"}');
SELECT t->'status' AS status, t->>'took' AS took FROM wf_test('endless', '{"how": "sleeps"}', until => '30 days') t;
SELECT t->'result' AS result FROM wf_test('loops', '{"n": 1}') t;
-- Interrupted: nothing of it is left behind.
CREATE FUNCTION spins(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN LOOP END LOOP; END $$;
CREATE FUNCTION naps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('nap', 'SELECT pg_sleep(60)'); END $$;
\set SHOW_CONTEXT never
SET statement_timeout = '100 ms';
SELECT wf_test('spins', starts_at => '2000-01-01');
SELECT wf_test('naps', starts_at => '2000-01-01');
RESET statement_timeout;
\set SHOW_CONTEXT errors
BEGIN;
SELECT wf_start('waits', id => 'later', delay => '1 day');
SELECT start_at > now() FROM wf_internal.runs WHERE id = 'later';
ROLLBACK;
-- Not in a workflow, not in a step, not under a borrowed role.
CREATE FUNCTION inside(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_test('waits'); END $$;
CREATE FUNCTION inside_step(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('test', 'SELECT wf_test(''waits'')'); END $$;
SELECT t->'error'->'sqlstate' AS sqlstate, t->'error'->'message' AS message, t->'error' ? 'hint' AS hint FROM wf_test('inside') t;
SELECT t->'error'->'sqlstate' AS sqlstate, t->'error'->'message' AS message FROM wf_test('inside_step') t;
SELECT wf_start('inside_step', id => 'inside');
DO $$ BEGIN PERFORM wf_result('inside', wait => '10 s'); EXCEPTION WHEN object_not_in_prerequisite_state THEN NULL; END $$;
SELECT status, sqlstate, error FROM wf.workflows WHERE id = 'inside';
CREATE ROLE regress_test LOGIN;
SET ROLE regress_test;
SELECT wf_test('waits');
RESET ROLE;
SET SESSION AUTHORIZATION regress_test;
SELECT wf_test('waits');
RESET SESSION AUTHORIZATION;
-- What is started for another role in a test is not run by this session.
CREATE FUNCTION start_for_other() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT public.wf_start('public.who', id => 'theirs') $$;
GRANT CREATE ON SCHEMA public TO regress_test;
ALTER FUNCTION start_for_other OWNER TO regress_test;
CREATE FUNCTION who(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('who', 'SELECT current_user'); END $$;
CREATE FUNCTION starts_theirs(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('start', 'start_for_other'); END $$;
SELECT t->'status' AS status, t->'started' AS started FROM wf_test('starts_theirs') t;
DROP FUNCTION start_for_other;
REVOKE ALL ON SCHEMA public FROM regress_test;
DROP ROLE regress_test;

-- Tasks: what the script says is what a worker makes of them. None comes.
CREATE FUNCTION tasks(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE h int := wf_begin('second', queue => 'q');
BEGIN
    RETURN jsonb_build_array(wf_task('first', 'q', retry => '{"max_attempts": 3, "first_delay": "1 min", "backoff": 1}'), wf_await(h));
END $$;
SELECT t->'status' AS status, t->'result' AS result, t->'took' AS took
FROM wf_test('tasks', mocks => '{"first": {"fail": {"message": "not yet"}, "times": 2, "result": 1}, "second": {"result": 2}}') t;
SELECT t->'status' AS status, t->'error'->'message' AS error
FROM wf_test('tasks', mocks => '{"first": {"fail": {"message": "never"}}, "second": {"result": 2}}') t;
SELECT t->'status' AS status, t->'waiting_for' AS waiting_for FROM wf_test('tasks', mocks => '{"second": {"result": 2}}') t;
SELECT count(*) FROM wf.tasks;
