-- Sleeps and signals.
-- Waits for a status.
CREATE FUNCTION until(id text, status text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN wf_status(id) = status;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN wf_status(id);
END $$;

-- A sleep takes at least its time, also when the workflow has other things to do.
CREATE FUNCTION sleeps(for_a interval, twice bool DEFAULT false) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    t timestamptz := wf_now();
BEGIN
    PERFORM wf_sleep(for_a);
    IF twice THEN
        PERFORM wf_sleep(for_a, name => 'second');
    END IF;
    RETURN to_jsonb(wf_now() - t >= for_a * (1 + twice::int));
END $$;
SELECT wf_start('sleeps', '{"for_a": "200 ms"}', id => 'sleep');
SELECT wf_result('sleep', wait => '10 s');
SELECT wf_start('sleeps', '{"for_a": "50 ms", "twice": true}', id => 'sleep-twice');
SELECT wf_result('sleep-twice', wait => '10 s');
SELECT name, occurrence, kind, status, attempt, result, finished_at - started_at >= '50 ms' AS long_enough, duration = finished_at - started_at AS duration
FROM wf.steps WHERE id = 'sleep-twice' AND kind = 'sleep' ORDER BY n;
SELECT wf_start('sleeps', '{"for_a": "0"}', id => 'sleep-0');
SELECT wf_result('sleep-0', wait => '10 s');
SELECT wf_start('sleeps', '{"for_a": "-1 day"}', id => 'sleep-negative');
SELECT wf_result('sleep-negative', wait => '10 s');
SELECT wf_start('sleeps', '{"for_a": "1 month"}', id => 'sleep-month');
SELECT until('sleep-month', 'waiting');
SELECT status, regexp_replace(waiting_for, '\d.*', '...') AS waiting_for, started_at IS NOT NULL AS started, finished_at FROM wf.workflows WHERE id = 'sleep-month';
SELECT name, status, finished_at, due_at = started_at + interval '1 month' AS in_a_month FROM wf.steps WHERE id = 'sleep-month' AND kind = 'sleep';
-- Until a time: one in the past does not wait.
CREATE FUNCTION until_time(at timestamptz) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_sleep_until(at, 'the hour');
    RETURN to_jsonb(wf_now() >= at);
END $$;
SELECT wf_start('until_time', '{"at": "2001-01-01"}', id => 'past');
SELECT wf_result('past', wait => '10 s');
SELECT wf_start('until_time', jsonb_build_object('at', clock_timestamp() + '100 ms'), id => 'soon');
SELECT wf_result('soon', wait => '10 s');
SELECT wf_start('until_time', '{"at": "2101-01-01"}', id => 'century');
SELECT until('century', 'waiting');
SELECT status, waiting_for FROM wf.workflows WHERE id = 'century';
SELECT wf_start('until_time', '{"at": "-infinity"}', id => 'long ago');
SELECT wf_result('long ago', wait => '10 s');
-- The value of the first call counts: what now() is meanwhile does not matter.
CREATE FUNCTION moving(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_sleep_until(clock_timestamp() + '100 ms');
    RETURN '"done"';
END $$;
SELECT wf_start('moving', id => 'moving');
SELECT wf_result('moving', wait => '10 s');

-- Signals come one by one, in the order of sending, whatever is waited for meanwhile.
CREATE FUNCTION collect(names text[], timeout interval DEFAULT '10 s') RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    got jsonb[] := '{}';
    name text;
    payload jsonb;
BEGIN
    FOREACH name IN ARRAY names LOOP
        payload := wf_wait_signal(name, timeout);
        got := got || coalesce(payload, '"timed out"');
    END LOOP;
    RETURN to_jsonb(got);
END $$;
SELECT wf_start('collect', '{"names": ["a", "b", "a", "a"]}', id => 'order');
SELECT until('order', 'waiting');
SELECT status, regexp_replace(waiting_for, '\d.*', '...') AS waiting_for FROM wf.workflows WHERE id = 'order';
SELECT wf_signal('order', 'b', '"b1"');
SELECT wf_signal('order', 'unasked', '"kept"');
SELECT wf_signal('order', 'b', '"b2"');
SELECT wf_signal('order', 'a', '"a1"');
SELECT wf_signal('order', 'a', '{"a": 2}');
SELECT wf_signal('order', 'a');
SELECT wf_result('order', wait => '10 s');
SELECT name, payload, consumed_at IS NOT NULL AS consumed, consumed_by, key FROM wf.signals WHERE id = 'order' ORDER BY sent_at;
SELECT n, name, occurrence, kind, status, result FROM wf.steps WHERE id = 'order' ORDER BY n;
-- Sent with the start, before anyone waits.
BEGIN;
SELECT wf_start('collect', '{"names": ["a", "a"]}', id => 'early');
SELECT wf_signal('early', 'a', '1');
SELECT wf_signal('early', 'a', '2');
COMMIT;
SELECT wf_result('early', wait => '10 s');
-- NULL is a timeout; a payload of null is a payload.
SELECT wf_start('collect', '{"names": ["a"], "timeout": "50 ms"}', id => 'timeout');
SELECT wf_result('timeout', wait => '10 s');
SELECT name, kind, status, result FROM wf.steps WHERE id = 'timeout';
CREATE FUNCTION null_or_nothing(timeout interval DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    payload jsonb := wf_wait_signal('a', timeout);
BEGIN
    RETURN jsonb_build_array(payload IS NULL, payload);
END $$;
SELECT wf_start('null_or_nothing', '{"timeout": "0"}', id => 'nothing');
SELECT wf_result('nothing', wait => '10 s');
SELECT wf_start('null_or_nothing', id => 'null');
SELECT wf_signal('null', 'a', 'null');
SELECT wf_result('null', wait => '10 s');
-- A signal that is there is taken even if the time is up; a negative timeout is one that is up.
BEGIN;
SELECT wf_start('null_or_nothing', '{"timeout": "-1 s"}', id => 'late');
SELECT wf_signal('late', 'a', '"there"');
COMMIT;
SELECT wf_result('late', wait => '10 s');
-- The same key is the same signal.
SELECT wf_start('collect', '{"names": ["a", "a"]}', id => 'keys');
SELECT wf_signal('keys', 'a', '1', key => 'k1');
SELECT wf_signal('keys', 'a', '1 ', key => 'k1');
SELECT wf_signal('keys', 'b', '"other"', key => 'k1');
BEGIN;
SELECT wf_signal('keys', 'a', '2', key => 'k2');
ROLLBACK;
SELECT wf_signal('keys', 'a', '3', key => 'k2');
SELECT wf_result('keys', wait => '10 s');
SELECT name, payload, key, consumed_by FROM wf.signals WHERE id = 'keys' ORDER BY sent_at;
-- One that is rolled back was never sent.
SELECT wf_start('null_or_nothing', id => 'rolled back');
SELECT until('rolled back', 'waiting');
BEGIN;
SELECT wf_signal('rolled back', 'a', '"never"');
ROLLBACK;
SELECT wf_signal('rolled back', 'a', '"sent"');
SELECT wf_result('rolled back', wait => '10 s');
-- To whom?
SELECT wf_signal('no such', 'a');
SELECT wf_signal('rolled back', 'a');
\echo :SQLSTATE
-- A signal belongs to one run: the next does not see what the last has left.
BEGIN;
SELECT wf_start('collect', '{"names": ["a"]}', id => 'runs');
SELECT wf_signal('runs', 'a', '1');
SELECT wf_signal('runs', 'a', '"left"');
COMMIT;
SELECT wf_result('runs', wait => '10 s');
SELECT wf_start('collect', '{"names": ["a"], "timeout": "10 ms"}', id => 'runs', on_conflict => 'start_new');
SELECT wf_result('runs', wait => '10 s');
SELECT run, name, payload, consumed_by FROM wf.signals WHERE id = 'runs' ORDER BY run, sent_at;

-- A cancel ends any wait; code may catch it to clean up, and fails or goes on as it likes.
CREATE FUNCTION cleans_up(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_sleep('1 hour');
    RETURN '"slept"';
EXCEPTION WHEN SQLSTATE 'WF002' THEN
    PERFORM wf_step('clean', $sql$ SELECT 'cleaned' $sql$);
    IF input->>'then' = 'return' THEN
        RETURN '"cancelled early"';
    END IF;
    RAISE;
END $$;
SELECT wf_start('cleans_up', id => 'clean-1');
SELECT until('clean-1', 'waiting');
SELECT wf_cancel('clean-1', 'no time');
SELECT wf_result('clean-1', wait => '10 s');
SELECT status, error, sqlstate FROM wf.workflows WHERE id = 'clean-1';
SELECT n, name, status, result, error FROM wf.steps WHERE id = 'clean-1' ORDER BY n;
SELECT wf_start('cleans_up', '{"then": "return"}', id => 'clean-2');
SELECT until('clean-2', 'waiting');
SELECT wf_cancel('clean-2');
SELECT wf_result('clean-2', wait => '10 s');
-- A running SQL step is interrupted.
CREATE FUNCTION dozes(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('doze', 'SELECT pg_sleep(60)');
END $$;
SELECT wf_start('dozes', id => 'doze');
DO $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND pid <> pg_backend_pid());
        PERFORM pg_sleep(0.01);
    END LOOP;
    -- A step that takes long is interrupted once, to be run again in a transaction of its own.
    PERFORM pg_sleep(0.3);
END $$;
SELECT wf_status('doze');
SELECT id, step, workflow, role, state FROM wf.workers WHERE id = 'doze';
SELECT wf_cancel('doze', 'wake up');
SELECT wf_result('doze', wait => '10 s');
SELECT status FROM wf.workflows WHERE id = 'doze';
SELECT name, status, error FROM wf.steps WHERE id = 'doze';
