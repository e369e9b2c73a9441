-- Queues: keys and fairness, backlog, duplicates; and what runs inside of the server: instances and steps.
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
CREATE FUNCTION running(name text) RETURNS bigint LANGUAGE sql AS $$ SELECT coalesce(sum(running), 0)::bigint FROM wf.queues q WHERE q.name = $1 $$;

-- Tasks of one key do not starve those of another: each in turn, in the order of the keys.
CREATE FUNCTION fan(queue text, key text, n integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..n LOOP PERFORM wf_begin('t', queue => queue, key => key, input => to_jsonb(coalesce(key, '-') || i)); END LOOP;
END $$;
SELECT wf_start('fan', '{"queue": "fair", "key": "big", "n": 6}', id => 'f1');
SELECT soon($$ waiting('fair') = 6 $$);
SELECT wf_start('fan', '{"queue": "fair", "key": "small", "n": 2}', id => 'f2');
SELECT wf_start('fan', '{"queue": "fair", "key": null, "n": 1}', id => 'f3');
SELECT soon($$ waiting('fair') = 9 $$);
SELECT input FROM wf_poll('fair', max => 3);
SELECT input FROM wf_poll('fair', max => 1);
SELECT input FROM wf_poll('fair', max => 10);
-- A better priority goes first, whoever it is for.
CREATE FUNCTION two(queue text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_begin('t', queue => queue, key => 'a', input => '"a, later"', priority => 5);
    PERFORM wf_begin('t', queue => queue, key => 'b', input => '"b, urgent"', priority => -5);
    PERFORM wf_begin('t', queue => queue, key => 'b', input => '"b, urgent, too"', priority => -5);
END $$;
SELECT wf_start('two', '{"queue": "fair"}', id => 'f4');
SELECT soon($$ waiting('fair') = 3 $$);
SELECT input FROM wf_poll('fair', max => 10);
-- No more than so many of one key at a time.
SELECT wf_queue('per_key', max_running_per_key => 1);
SELECT wf_start('fan', '{"queue": "per_key", "key": "x", "n": 2}', id => 'f5');
SELECT wf_start('fan', '{"queue": "per_key", "key": "y", "n": 1}', id => 'f6');
SELECT wf_start('fan', '{"queue": "per_key", "key": null, "n": 2}', id => 'f7');
SELECT soon($$ waiting('per_key') = 5 $$);
CREATE TABLE claimed AS SELECT task, input FROM wf_poll('per_key', max => 10);
SELECT input FROM claimed ORDER BY 1;
SELECT input FROM wf_poll('per_key', max => 10);
SELECT wf_complete(task) FROM claimed WHERE input = '"x1"';
SELECT input FROM wf_poll('per_key', max => 10);
SELECT name, waiting, running, max_running_per_key FROM wf.queues WHERE name = 'per_key';
SELECT wf_queue('per_key', max_running_per_key => 0);
SELECT max_running_per_key FROM wf.queues WHERE name = 'per_key';

-- The backlog: what comes when it is full is rejected, or drops what has waited longest.
SELECT wf_queue('short', max_backlog => 2);
CREATE FUNCTION guarded(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_task('t', 'short', input);
EXCEPTION WHEN SQLSTATE 'WF009' THEN
    RETURN to_jsonb(SQLERRM);
END $$;
SELECT wf_start('guarded', '1', id => 'g1');
SELECT soon($$ waiting('short') = 1 $$);
SELECT wf_start('guarded', '2', id => 'g2');
SELECT soon($$ waiting('short') = 2 $$);
SELECT wf_start('guarded', '3', id => 'g3');
SELECT wf_result('g3', wait => '10 s');
CREATE FUNCTION plain(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT input $$;
SELECT wf_start('plain', queue => 'short');
SELECT max_backlog, overflow, oldest > '0' AS oldest, kinds FROM wf.queues WHERE name = 'short';
SELECT wf_queue('short', overflow => 'drop_oldest');
SELECT wf_start('guarded', '4', id => 'g4');
SELECT wf_result('g1', wait => '10 s');
SELECT input, wf_complete(task, input) FROM wf_poll('short', max => 10);
SELECT wf_result('g2', wait => '10 s');
SELECT wf_queue('short', max_backlog => 0);
SELECT max_backlog, overflow FROM wf.queues WHERE name = 'short';

-- Duplicates: the second call gets what the first one does.
CREATE FUNCTION once(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_task('t', 'once', input, dedup => 'k');
END $$;
SELECT wf_start('once', '"first"', id => 'd1');
SELECT soon($$ waiting('once') = 1 $$);
SELECT wf_start('once', '"second"', id => 'd2');
SELECT soon($$ (SELECT count(*) = 1 FROM wf_internal.joined) $$);
SELECT status, waiting_for FROM wf.workflows WHERE id = 'd2';
SELECT input, wf_complete(task, '"done"') FROM wf_poll('once', max => 10);
SELECT wf_result('d1', wait => '10 s'), wf_result('d2', wait => '10 s');
-- It has ended: the next is a new one. When it is cancelled the one that has joined it gets a task of its own.
SELECT wf_start('once', '"third"', id => 'd3');
SELECT soon($$ waiting('once') = 1 $$);
SELECT wf_start('once', '"fourth"', id => 'd4');
SELECT soon($$ (SELECT count(*) = 1 FROM wf_internal.joined) $$);
SELECT wf_cancel('d3');
SELECT wf_result('d3', wait => '10 s');
SELECT soon($$ waiting('once') = 1 $$);
SELECT input, wf_complete(task, '"its own"') FROM wf_poll('once', max => 10);
SELECT wf_result('d4', wait => '10 s');
-- A call that has joined is cancelled; nothing is left.
SELECT wf_start('once', '"fifth"', id => 'd5');
SELECT soon($$ waiting('once') = 1 $$);
SELECT wf_start('once', '"sixth"', id => 'd6');
SELECT soon($$ (SELECT count(*) = 1 FROM wf_internal.joined) $$);
SELECT wf_cancel('d6');
SELECT wf_result('d6', wait => '10 s');
SELECT wf_fail(task, 'no', retryable => false) FROM wf_poll('once', max => 10);
SELECT wf_result('d5', wait => '10 s');
SELECT (SELECT count(*) FROM wf_internal.joined), (SELECT count(*) FROM wf_internal.dedup);

-- Instances take their turn.
SELECT wf_queue('runs', max_running => 1);
CREATE FUNCTION waiter(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN wf_wait_signal('go'); END $$;
SELECT wf_start('waiter', id => 'r1', queue => 'runs');
SELECT soon($$ wf_status('r1') = 'waiting' $$);
SELECT wf_start('waiter', id => 'r2', queue => 'runs', dedup => 'd');
SELECT wf_start('waiter', id => 'r3', queue => 'runs', dedup => 'd');
SELECT wf_start('waiter', id => 'r2', queue => 'runs', dedup => 'e');
SELECT wf_start('waiter', id => 'r4', queue => 'runs', priority => -1);
SELECT id, status, waiting_for FROM wf.workflows WHERE workflow = 'waiter' ORDER BY id;
SELECT waiting, running, kinds FROM wf.queues WHERE name = 'runs';
-- A signal does not have it jump the queue.
SELECT wf_signal('r2', 'go', '2');
SELECT wf_signal('r1', 'go', '1');
SELECT wf_result('r1', wait => '10 s');
SELECT soon($$ wf_status('r4') = 'waiting' $$);
SELECT wf_status('r2');
SELECT wf_signal('r4', 'go', '4');
SELECT wf_result('r4', wait => '10 s'), wf_result('r2', wait => '10 s');
SELECT waiting, running FROM wf.queues WHERE name = 'runs';
-- However it ends, its place is given back; who waits in line may be cancelled there.
CREATE FUNCTION bad(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'bad'; END $$;
SELECT wf_start('waiter', id => 'e1', queue => 'runs');
SELECT wf_start('bad', id => 'e2', queue => 'runs');
SELECT wf_start('waiter', id => 'e3', queue => 'runs');
SELECT wf_start('waiter', id => 'e4', queue => 'runs', timeout => '0.3 s');
SELECT wf_start('waiter', id => 'e5', queue => 'runs', start_timeout => '0.3 s');
SELECT wf_cancel('e3');
SELECT wf_result('e3', wait => '10 s');
SELECT soon($$ wf_status('e4') = 'failed' AND wf_status('e5') = 'failed' $$);
SELECT id, error FROM wf.workflows WHERE id IN ('e4', 'e5') ORDER BY id;
SELECT wf_cancel('e1');
SELECT wf_result('e1', wait => '10 s');
SELECT wf_result('e2', wait => '10 s');
SELECT waiting, running FROM wf.queues WHERE name = 'runs';
-- A retry gets in line again; so does one that is to start later, at its time.
SELECT wf_start('waiter', id => 'e6', queue => 'runs');
SELECT soon($$ wf_status('e6') = 'waiting' $$);
SELECT wf_retry('e2');
SELECT wf_start('plain', '7', id => 'e7', queue => 'runs', delay => '0.1 s');
SELECT soon($$ waiting('runs') = 2 $$);
SELECT wf_signal('e6', 'go');
SELECT wf_result('e7', wait => '10 s');
SELECT soon($$ wf_status('e2') = 'failed' $$);
-- The next run of an id keeps the place.
CREATE FUNCTION relay(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF input = '2' THEN RETURN wf_wait_signal('go'); END IF;
    RETURN wf_continue_as_new(to_jsonb(input::int + 1));
END $$;
SELECT wf_start('relay', '0', id => 'relay', queue => 'runs', dedup => 'relay');
SELECT wf_start('plain', '8', id => 'behind', queue => 'runs');
SELECT soon($$ wf_status('relay') = 'waiting' $$);
SELECT wf_status('behind'), waiting, running FROM wf.queues WHERE name = 'runs';
SELECT wf_start('plain', queue => 'runs', dedup => 'relay');
SELECT wf_signal('relay', 'go', '"over"');
SELECT wf_result('relay', wait => '10 s'), wf_result('behind', wait => '10 s');
-- A paused instance does not keep others waiting.
SELECT wf_start('waiter', id => 'p1', queue => 'runs');
SELECT soon($$ wf_status('p1') = 'waiting' $$);
SELECT wf_start('plain', '1', id => 'p2', queue => 'runs');
SELECT wf_start('plain', '2', id => 'p3', queue => 'runs');
SELECT wf_pause('p2');
SELECT wf_signal('p1', 'go');
SELECT wf_result('p3', wait => '10 s');
SELECT wf_resume('p2');
SELECT wf_result('p2', wait => '10 s');
-- Nor are its tasks claimed.
SELECT wf_start('guarded', '"held"', id => 'h1'), wf_start('guarded', '"free"', id => 'h2');
SELECT soon($$ waiting('short') = 2 $$);
SELECT wf_pause('h1');
SELECT input, wf_complete(task, input) FROM wf_poll('short', max => 10);
SELECT status FROM wf.tasks WHERE id = 'h1';
SELECT wf_resume('h1');
SELECT soon($$ waiting('short') = 1 $$);
SELECT input, wf_complete(task, input) FROM wf_poll('short', max => 10);
SELECT wf_result('h1', wait => '10 s'), wf_result('h2', wait => '10 s');
-- The queue may be paused; a limit that is raised takes effect at once.
SELECT wf_queue('runs', paused => true);
SELECT wf_start('waiter', id => 'q1', queue => 'runs'), wf_start('waiter', id => 'q2', queue => 'runs');
SELECT wf_queue('runs', paused => false);
SELECT soon($$ running('runs') = 1 $$);
SELECT wf_queue('runs', max_running => 0);
SELECT soon($$ running('runs') = 2 $$);
SELECT wf_signal('q1', 'go'), wf_signal('q2', 'go');
SELECT soon($$ running('runs') = 0 $$);
-- A rate.
SELECT wf_queue('rated', rate => 2, per => '0.2 s');
SELECT tokens FROM wf.queues WHERE name = 'rated';
SELECT count(wf_start('plain', to_jsonb(i), id => 'rated' || i, queue => 'rated')) FROM generate_series(1, 6) i;
SELECT min(wf_result('rated' || i, wait => '10 s')::int) FROM generate_series(1, 6) i;
SELECT max(started_at) - min(started_at) >= '0.35 s' AS paced FROM wf.workflows WHERE id LIKE 'rated%';
-- By keys.
SELECT wf_queue('keyed', max_running_per_key => 1, max_running => 3);
SELECT wf_start('waiter', id => 'k' || i, queue => 'keyed', key => CASE WHEN i < 4 THEN 'a' ELSE 'b' END) FROM generate_series(1, 4) i;
SELECT soon($$ running('keyed') = 2 $$);
SELECT soon($$ wf_status('k1') = 'waiting' AND wf_status('k4') = 'waiting' $$);
SELECT id, status, waiting_for FROM wf.workflows WHERE id ~ '^k[0-9]' ORDER BY id;
SELECT wf_signal('k' || i, 'go') FROM generate_series(1, 4) i;
SELECT count(wf_result('k' || i, wait => '10 s')) FROM generate_series(1, 4) i;

-- Steps take their turn, side by side with other things of the queue.
SELECT wf_queue('steps', max_running => 1);
CREATE FUNCTION stepper(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE h int[];
BEGIN
    h[1] := wf_begin('one', 'SELECT 1', queue => 'steps');
    h[2] := wf_begin('two', 'SELECT 2', queue => 'steps', key => 'x');
    RETURN wf_await(h);
END $$;
SELECT wf_start('waiter', id => 's1', queue => 'steps');
SELECT soon($$ wf_status('s1') = 'waiting' $$);
SELECT wf_start('stepper', id => 's2');
SELECT soon($$ waiting('steps') = 2 $$);
SELECT kinds FROM wf.queues WHERE name = 'steps';
SELECT wf_signal('s1', 'go');
SELECT jsonb_path_query_array(wf_result('s2', wait => '10 s'), '$[*].result');
CREATE FUNCTION mapper(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN wf_map('m', 'SELECT $1', '[1, 2, 3, 4, 5]', queue => 'steps', max_parallel => 2); END $$;
SELECT wf_start('mapper', id => 's3');
SELECT wf_result('s3', wait => '10 s');
SELECT waiting, running FROM wf.queues WHERE name = 'steps';
CREATE FUNCTION direct(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN wf_step('d', 'SELECT 42', queue => input#>>'{}'); END $$;
CREATE PROCEDURE direct_procedure(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
BEGIN
    CALL wf_step('d', 'SELECT 43', '{}', result, queue => 'steps');
    CALL wf_step('e', 'SELECT $1->0', result, result);
END $$;
SELECT wf_start('waiter', id => 't1', queue => 'steps');
SELECT soon($$ wf_status('t1') = 'waiting' $$);
SELECT wf_start('direct', '"steps"', id => 't2'), wf_start('direct_procedure', id => 't3');
SELECT soon($$ waiting('steps') = 2 $$);
SELECT id, status, waiting_for FROM wf.workflows WHERE id IN ('t2', 't3') ORDER BY id;
SELECT wf_signal('t1', 'go');
SELECT wf_result('t2', wait => '10 s'), wf_result('t3', wait => '10 s');
SELECT name, kind, status, attempt, result FROM wf.steps WHERE id = 't2';
-- One that is not transactional.
CREATE FUNCTION command(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN wf_step('v', 'VACUUM claimed', transactional => false, queue => 'steps'); END $$;
SELECT wf_start('waiter', id => 'v1', queue => 'steps');
SELECT soon($$ wf_status('v1') = 'waiting' $$);
SELECT wf_start('command', id => 'v2');
SELECT soon($$ waiting('steps') = 1 $$);
SELECT wf_signal('v1', 'go');
SELECT wf_result('v2', wait => '10 s');
SELECT waiting, running FROM wf.queues WHERE name = 'steps';
-- What is dropped for a later one may be an instance, or a step.
SELECT wf_queue('drops', max_backlog => 1, overflow => 'drop_oldest', paused => true);
SELECT wf_start('plain', id => 'o1', queue => 'drops'), wf_start('plain', id => 'o2', queue => 'drops');
SELECT wf_result('o1', wait => '10 s');
SELECT wf_start('direct', '"drops"', id => 'o3');
SELECT wf_result('o2', wait => '10 s');
SELECT wf_start('plain', '4', id => 'o4', queue => 'drops');
SELECT wf_result('o3', wait => '10 s');
SELECT wf_queue('drops', paused => false);
SELECT wf_result('o4', wait => '10 s');
-- While a retry waits its place is another's.
CREATE FUNCTION flaky() RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('flaky_tries') < 2 THEN RAISE 'not yet'; END IF;
    RETURN 1;
END $$;
CREATE SEQUENCE flaky_tries;
CREATE FUNCTION retrier(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN wf_await(wf_begin('f', 'flaky', queue => 'steps', retry => '{"first_delay": "0.5 s"}')); END $$;
SELECT wf_start('retrier', id => 's4');
SELECT soon($$ (SELECT status = 'retrying' FROM wf.branches WHERE id = 's4') $$);
SELECT running FROM wf.queues WHERE name = 'steps';
SELECT wf_result('s4', wait => '10 s');
SELECT waiting, running FROM wf.queues WHERE name = 'steps';
-- Cancelled in line.
SELECT wf_start('waiter', id => 's5', queue => 'steps');
SELECT soon($$ wf_status('s5') = 'waiting' $$);
SELECT wf_start('stepper', id => 's6');
SELECT soon($$ waiting('steps') = 2 $$);
SELECT wf_cancel('s6');
SELECT wf_result('s6', wait => '10 s');
SELECT waiting, running FROM wf.queues WHERE name = 'steps';
SELECT wf_queue('steps', max_backlog => 1);
SELECT wf_start('plain', id => 's7', queue => 'steps');
SELECT wf_start('stepper', id => 's8');
SELECT o->'error'->>'sqlstate' AS sqlstate, o->'error'->>'message' AS message
FROM jsonb_array_elements(wf_result('s8', wait => '10 s')) o;
SELECT wf_signal('s5', 'go');
SELECT wf_result('s7', wait => '10 s');
-- In a rehearsal nobody is waited for.
SELECT wf_queue('steps', paused => true);
SELECT wf_test('mapper')->'result' AS rehearsed;

-- Wrong use.
SELECT wf_queue('q', max_running_per_key => -1);
SELECT wf_queue('q', max_backlog => -1);
SELECT wf_queue('q', overflow => 'drop_newest');
SELECT wf_start('plain', queue => '');
SELECT wf_start('plain', key => 'k');
SELECT wf_start('plain', dedup => 'k');
SELECT wf_start('plain', queue => 'q', key => '');
CREATE FUNCTION wrong(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    BEGIN PERFORM wf_task('it', 'q', key => ''); EXCEPTION WHEN invalid_parameter_value THEN RAISE NOTICE '%', SQLERRM; END;
    BEGIN PERFORM wf_begin('it', 'SELECT 1', key => 'k'); EXCEPTION WHEN invalid_parameter_value THEN RAISE NOTICE '%', SQLERRM; END;
    BEGIN PERFORM wf_map('it', workflow => 'plain', items => '[1]', queue => 'q'); EXCEPTION WHEN invalid_parameter_value THEN RAISE NOTICE '%', SQLERRM; END;
    RETURN 'null';
END $$;
BEGIN;
SELECT wf_start('wrong', id => 'wrong');
CALL wf_run_pending();
ROLLBACK;

-- Nothing is left behind but what was claimed above and not completed.
SELECT (SELECT count(*) FROM wf_internal.task_queue WHERE inside) AS places, (SELECT count(*) FROM wf_internal.dedup) AS dedup,
       (SELECT count(*) FROM wf_internal.joined) AS joined, (SELECT count(*) FROM wf_internal.ready) AS ready;
