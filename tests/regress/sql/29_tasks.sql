-- Tasks: work for workers outside of the server, in plain SQL.
\set SHOW_CONTEXT never
CREATE FUNCTION soon(condition text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE found boolean;
BEGIN
    FOR i IN 1..1000 LOOP
        EXECUTE 'SELECT ' || condition INTO found;
        IF found THEN RETURN; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RAISE 'not within 10 s: %', condition;
END $$;
CREATE FUNCTION waiting(name text) RETURNS bigint LANGUAGE sql AS $$ SELECT coalesce(sum(waiting), 0)::bigint FROM wf.queues q WHERE q.name = $1 $$;

-- One task, from the call to its answer.
CREATE FUNCTION charge(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_task('charge', 'payments', input, timeout => '1 hour');
END $$;
SELECT wf_start('charge', '{"amount": 42}', id => 'c');
SELECT soon($$ waiting('payments') = 1 $$);
SELECT id, status, waiting_for FROM wf.workflows WHERE id = 'c';
SELECT * FROM wf_poll('elsewhere');
SELECT task, queue_name, name, attempt, input, idempotency_key LIKE '%/1' AS key, lease_until - now() > '50 s' AS leased,
       deadline - now() > '50 min' AS deadline, heartbeat, id, workflow FROM wf_poll('payments', 'w1') \gset t_
\echo :t_queue_name :t_name :t_attempt :t_input :t_key :t_leased :t_deadline :t_heartbeat :t_id :t_workflow
SELECT count(*) FROM wf_poll(ARRAY['payments', 'elsewhere']);
SELECT id, name, queue, status, attempt, worker, worker_role, input FROM wf.tasks;
SELECT wf_heartbeat(:'t_task', '{"done": 0.5}');
SELECT status, heartbeat FROM wf.tasks;
-- Taken back with its transaction; then for good, and once.
BEGIN;
SELECT wf_complete(:'t_task', '{"paid": 1}');
ROLLBACK;
SELECT status FROM wf.tasks;
SELECT wf_complete(:'t_task', '{"paid": 42}');
SELECT wf_complete(:'t_task', '{"paid": 43}');
SELECT wf_result('c', wait => '10 s');
SELECT wf_fail(:'t_task', 'too late');
SELECT wf_heartbeat(:'t_task');
SELECT name, kind, status, attempt, result FROM wf.steps WHERE id = 'c';
SELECT status, finished_at IS NOT NULL AS finished FROM wf.tasks;
SELECT waiting, running FROM wf.queues;
SELECT count(*) FROM wf_internal.timers;

-- Failures: retried by the policy, after the worker's own delay; the last one is the workflow's, with its SQLSTATE.
CREATE FUNCTION fragile(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_task('it', 'fragile', input, retry => '{"max_attempts": 3, "first_delay": "50 s"}');
EXCEPTION WHEN SQLSTATE 'P0042' THEN
    RETURN to_jsonb('caught: ' || SQLERRM);
END $$;
SELECT wf_start('fragile', id => 'f');
SELECT soon($$ waiting('fragile') = 1 $$);
SELECT wf_fail(task, 'no luck', delay => '0') FROM wf_poll('fragile');
SELECT task AS f_task, wf_heartbeat(task, '"half"') FROM wf_poll('fragile') \gset
SELECT wf_fail(:'f_task', 'no luck again', delay => '0.1 s');
SELECT wf_fail(:'f_task', 'no luck again', delay => '0.1 s');
SELECT error, sqlstate, attempt FROM wf.tasks WHERE queue = 'fragile';
SELECT wf_complete(:'f_task');
SELECT soon($$ waiting('fragile') = 1 $$);
SELECT attempt, heartbeat, wf_fail(task, 'no luck at all', sqlstate => 'P0042') FROM wf_poll('fragile');
SELECT wf_result('f', wait => '10 s');
-- By the policy's wait; not retryable; uncaught.
SELECT wf_start('fragile', id => 'f2');
SELECT soon($$ waiting('fragile') = 1 $$);
SELECT wf_fail(task, 'later') FROM wf_poll('fragile');
SELECT status, queued_at - now() BETWEEN '40 s' AND '56 s' AS by_policy FROM wf.tasks WHERE id = 'f2';
SELECT wf_cancel('f2');
SELECT wf_result('f2', wait => '10 s');
SELECT wf_start('fragile', id => 'f3');
SELECT soon($$ waiting('fragile') = 1 $$);
SELECT wf_fail(task, 'never', retryable => false, detail => 'It is hopeless.') FROM wf_poll('fragile');
SELECT wf_result('f3', wait => '10 s');

-- Side by side, by priority; completed in one call. A workflow does not end before its tasks have.
CREATE FUNCTION many(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE h int[];
BEGIN
    FOR i IN 1..3 LOOP
        h[i] := wf_begin('t' || i, queue => 'many', input => to_jsonb(i), priority => -i);
    END LOOP;
    IF input = '"leave"' THEN RETURN '"left"'; END IF;
    RETURN wf_await(h);
END $$;
SELECT wf_start('many', id => 'm');
SELECT soon($$ waiting('many') = 3 $$);
SELECT waiting_for FROM wf.workflows WHERE id = 'm';
CREATE TABLE taken AS SELECT ordinality, name, task, input FROM wf_poll('many', max => 10) WITH ORDINALITY;
SELECT ordinality, name FROM taken ORDER BY 1;
SELECT outcome FROM wf_complete((SELECT jsonb_agg(jsonb_build_object('task', task, 'result', input::int * 10)) FROM taken));
SELECT outcome FROM wf_complete((SELECT jsonb_agg(jsonb_build_object('task', task)) FROM taken));
SELECT wf_result('m', wait => '10 s');
SELECT wf_start('many', '"leave"', id => 'm2');
SELECT soon($$ waiting('many') = 3 $$);
SELECT waiting_for FROM wf.workflows WHERE id = 'm2';
SELECT wf_complete(task, 'true') FROM wf_poll('many', max => 10);
SELECT wf_result('m2', wait => '10 s');

-- A cancel reaches the worker with its next sign of life; what nobody has claimed is gone.
SELECT wf_start('many', id => 'm3');
SELECT soon($$ waiting('many') = 3 $$);
SELECT task AS m_task FROM wf_poll('many') \gset
SELECT wf_cancel('m3');
SELECT wf_result('m3', wait => '10 s');
SELECT wf_heartbeat(:'m_task');
SELECT wf_complete(:'m_task');
SELECT name, status FROM wf.tasks WHERE id = 'm3' ORDER BY n;
SELECT waiting, running FROM wf.queues WHERE name = 'many';
SELECT count(*) FROM wf_internal.task_queue;
SELECT count(*) FROM wf_internal.timers;

-- Times: not claimed in time; an attempt that takes too long; a worker that is not heard of; the whole.
CREATE FUNCTION timed(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_task('it', 'timed', input, timeout => (input->>'timeout')::interval, start_timeout => (input->>'start')::interval,
                   heartbeat => (input->>'heartbeat')::interval, total_timeout => (input->>'total')::interval,
                   retry => '{"max_attempts": 2, "first_delay": "0"}');
END $$;
SELECT wf_start('timed', '{"start": "0.1 s"}', id => 'start');
SELECT wf_result('start', wait => '10 s');
SELECT wf_start('timed', '{"timeout": "0.2 s"}', id => 'timeout');
SELECT soon($$ waiting('timed') = 1 $$);
SELECT task AS first_task, attempt FROM wf_poll('timed', 'slow') \gset
SELECT soon($$ waiting('timed') = 1 $$);
SELECT wf_complete(:'first_task');
SELECT attempt FROM wf_poll('timed', 'slow');
SELECT wf_result('timeout', wait => '10 s');
SELECT wf_start('timed', '{"heartbeat": "0.2 s"}', id => 'heartbeat');
SELECT soon($$ waiting('timed') = 1 $$);
SELECT task AS first_task, attempt, lease_until - now() < '1 s' AS short FROM wf_poll('timed', 'silent', lease => '1 hour') \gset
\echo :short
SELECT soon($$ waiting('timed') = 1 $$);
SELECT wf_heartbeat(:'first_task');
SELECT attempt FROM wf_poll('timed', 'silent too');
SELECT wf_complete(:'first_task');
SELECT wf_result('heartbeat', wait => '10 s');
SELECT wf_start('timed', '{"total": "1.5 s"}', id => 'total');
SELECT soon($$ waiting('timed') = 1 $$);
SELECT attempt FROM wf_poll('timed', lease => '1 hour');
SELECT wf_result('total', wait => '10 s');
-- Signs of life keep it.
SELECT wf_start('timed', '{"heartbeat": "1 s"}', id => 'alive');
SELECT soon($$ waiting('timed') = 1 $$);
SELECT task AS alive_task FROM wf_poll('timed') \gset
DO $$
BEGIN
    FOR i IN 1..6 LOOP
        PERFORM pg_sleep(0.3);
        IF NOT wf_heartbeat((SELECT t.run_id || '/' || t.n || '/' || t.lease FROM wf_internal.tasks t WHERE t.status = 'running')) THEN
            RAISE 'told to stop';
        END IF;
        COMMIT;
    END LOOP;
END $$;
SELECT wf_complete(:'alive_task', '"done"');
SELECT wf_result('alive', wait => '10 s');

-- Queues: limits, pause, what a claim of several gets.
SELECT wf_queue('limited', max_running => 2, rate => 100, per => '1 minute');
SELECT name, paused, waiting, running, max_running, rate, per, workers FROM wf.queues WHERE name = 'limited';
CREATE FUNCTION five(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..5 LOOP PERFORM wf_begin('t', queue => 'limited', input => to_jsonb(i)); END LOOP;
    RETURN 'null';
END $$;
SELECT wf_start('five', id => 'five');
SELECT soon($$ waiting('limited') = 5 $$);
CREATE TABLE claimed AS SELECT task, input FROM wf_poll('limited', max => 10);
SELECT input FROM claimed;
SELECT count(*) FROM wf_poll('limited', max => 10);
SELECT wf_complete(task) FROM claimed WHERE input = '1';
SELECT input FROM wf_poll('limited', max => 10);
SELECT wf_queue('limited', max_running => 0, rate => 4, paused => true);
SELECT count(*) FROM wf_poll('limited', max => 10);
SELECT wf_queue('limited', paused => false, rate => 1, per => '1 minute');
SELECT count(*) FROM wf_poll('limited', max => 10);
SELECT count(*) FROM wf_poll('limited', max => 10);
SELECT wf_queue('limited', rate => 0);
SELECT count(*) FROM wf_poll('limited', max => 10);
SELECT paused, waiting, running, max_running, rate, per FROM wf.queues WHERE name = 'limited';

-- Waiting for work.
CALL wf_poll('limited', '0.05 s', NULL);
BEGIN;
CALL wf_poll('limited', '1 s', NULL);
ROLLBACK;

-- Wrong use.
SELECT wf_task('it', 'outside');
SELECT wf_poll('limited', max => 0);
SELECT wf_poll('limited', lease => '0');
SELECT wf_poll('');
CALL wf_poll('limited', NULL, NULL);
SELECT wf_poll(NULL::text);
SELECT wf_poll(ARRAY['a', NULL]);
SELECT wf_complete('nonsense');
SELECT wf_complete(gen_random_uuid() || '/1/' || gen_random_uuid());
SELECT wf_complete('{}'::jsonb);
SELECT wf_complete('[{"result": 1}]'::jsonb);
SELECT wf_fail(:'t_task', 'x', sqlstate => '57014');
SELECT wf_fail(:'t_task', 'x', delay => '-1 s');
SELECT wf_fail(:'t_task', NULL);
SELECT wf_heartbeat(:'t_task', lease => '-1 s');
SELECT wf_queue('q', max_running => -1);
SELECT wf_queue('q', rate => 1, per => '0');
SELECT wf_queue('q', workers => '{nobody_of_this_name}');
CREATE FUNCTION wrong(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    BEGIN PERFORM wf_task('it', ''); EXCEPTION WHEN invalid_parameter_value THEN RAISE NOTICE '%', SQLERRM; END;
    BEGIN PERFORM wf_task('it', 'q', timeout => '-1 s'); EXCEPTION WHEN invalid_parameter_value THEN RAISE NOTICE '%', SQLERRM; END;
    BEGIN PERFORM wf_task('it', 'q', priority => 5000); EXCEPTION WHEN invalid_parameter_value THEN RAISE NOTICE '%', SQLERRM; END;
    BEGIN PERFORM wf_task('it', 'q', retry => '{"max": 1}'); EXCEPTION WHEN invalid_parameter_value THEN RAISE NOTICE '%', SQLERRM; END;
    BEGIN PERFORM wf_begin('it', 'SELECT 1', queue => 'q', dedup => 'd'); EXCEPTION WHEN invalid_parameter_value THEN RAISE NOTICE '%', SQLERRM; END;
    PERFORM wf_poll('q');
END $$;
BEGIN;
SELECT wf_start('wrong', id => 'wrong');
CALL wf_run_pending();
SELECT wf_result('wrong');
ROLLBACK;
-- Only this attempt's token counts.
SELECT wf_start('charge', id => 'forged');
SELECT soon($$ waiting('payments') = 1 $$);
SELECT task AS real_task FROM wf_poll('payments') \gset
SELECT wf_complete(regexp_replace(:'real_task', '[^/]*$', gen_random_uuid()::text));
SELECT wf_complete(:'real_task', '1');
SELECT wf_result('forged', wait => '10 s');

-- Handed back, it is in the queue again at once, and the attempt does not count.
CREATE FUNCTION once() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN wf_task('t', 'once', retry => '{"max_attempts": 1, "first_delay": "1 hour"}'); END $$;
SELECT wf_start('once', id => 'once');
SELECT soon($$ waiting('once') = 1 $$);
SELECT task AS handed FROM wf_poll('once') \gset
SELECT wf_fail(:'handed', 'worker stops', counts => false), wf_fail(:'handed', 'worker stops', counts => false);
SELECT status, attempt, error FROM wf.tasks WHERE id = 'once';
SELECT wf_complete(:'handed', '"late"');
SELECT attempt, wf_fail(task, 'for good') FROM wf_poll('once');
SELECT wf_result('once', wait => '10 s');

-- A retry of the instance makes the task anew; a purge takes it along.
SELECT wf_start('fragile', id => 'again');
SELECT soon($$ waiting('fragile') = 1 $$);
SELECT wf_fail(task, 'no', retryable => false) FROM wf_poll('fragile');
SELECT wf_result('again', wait => '10 s');
SELECT wf_retry('again');
SELECT soon($$ waiting('fragile') = 1 $$);
SELECT attempt, error, worker FROM wf.tasks WHERE id = 'again';
SELECT attempt, wf_complete(task, '"at last"') FROM wf_poll('fragile');
SELECT wf_result('again', wait => '10 s');
SELECT wf_purge('0') > 0 AS purged;
SELECT count(*) FROM wf.tasks WHERE id <> 'five';
SELECT count(*) FROM wf.tasks t WHERE NOT EXISTS (SELECT FROM wf.workflows w WHERE w.run_id = t.run_id);

-- In a rehearsal nobody claims, and its time passes.
SELECT t->>'status' AS status, t->'error'->>'message' AS error FROM wf_test('timed', '{"start": "1 day"}') AS t;
SELECT count(*) FROM wf.tasks WHERE name = 'it';
