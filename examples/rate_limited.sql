-- API calls at a limited rate: tasks, done by a worker outside of the server.
--
-- wf_task puts a task into a queue and waits. A worker claims tasks with a lease, does them, and completes or fails each. The
-- queue hands out no more than its rate allows, however many workers there are. A task may be done more than once (a worker
-- dies behind its call, before it has said so), so the other side gets an idempotency key.
--
-- Temporal: an activity on a task queue with max_task_queue_activities_per_second.
-- DBOS: a Queue with limiter={"limit": 10, "period": 0.2}.
-- Prefect: rate_limit(...) in the task, with a concurrency limit that has slot_decay_per_second.
--
-- To be run as superuser in a fresh database that has the extension.

\set ON_ERROR_STOP on

-- The other side: counts the calls that it gets, and is busy at the first call for each tenth address.
CREATE TABLE calls (at timestamptz NOT NULL DEFAULT clock_timestamp(), key text NOT NULL, address text NOT NULL, answer text);
CREATE FUNCTION call_api(key text, address text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    place text;
BEGIN
    IF NOT (address LIKE '%0 Main Street' AND NOT EXISTS (SELECT FROM calls c WHERE c.key = call_api.key)) THEN
        place := 'place of ' || address;
    END IF;
    INSERT INTO calls (key, address, answer) VALUES (key, address, place);
    RETURN place;
END $$;

-- The workflow.
CREATE TABLE places (address text PRIMARY KEY, place text NOT NULL);
CREATE FUNCTION locate(address text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    place jsonb;
BEGIN
    place := wf_task('geocode', 'geocoder', jsonb_build_object('address', address),
                     retry => '{"max_attempts": 5, "first_delay": "50 ms"}');
    PERFORM wf_step('keep', 'INSERT INTO places VALUES ($1->>0, $1->>1)', jsonb_build_array(address, place));
    RETURN place;
END $$;

-- Ten calls in 200 ms at most, by all workers together.
SELECT wf_queue('geocoder', rate => 10, per => '200 ms');

-- A worker: in earnest a program in your language, with the same calls.
CREATE PROCEDURE worker(tasks_to_do integer) LANGUAGE plpgsql AS $$
DECLARE
    claimed jsonb;
    task    jsonb;
    place   text;
BEGIN
    WHILE tasks_to_do > 0 LOOP
        CALL wf_poll('geocoder', '1 s', claimed, worker => 'worker 1', max => 5, lease => '1 minute');
        FOR task IN SELECT jsonb_array_elements(claimed) LOOP
            place := call_api(task->>'idempotency_key', task#>>'{input,address}');
            IF place IS NULL THEN
                PERFORM wf_fail(task->>'task', 'the service is busy');
            ELSE
                PERFORM wf_complete(task->>'task', to_jsonb(place));
                tasks_to_do := tasks_to_do - 1;
            END IF;
            COMMIT;
        END LOOP;
    END LOOP;
END $$;

SELECT count(wf_start('locate', jsonb_build_object('address', n || ' Main Street'), id => 'address-' || n))
FROM generate_series(1, 50) n;

SELECT clock_timestamp() AS began \gset
CALL worker(50);

SELECT count(wf_result('address-' || n, wait => '30 s')) FROM generate_series(1, 50) n;
SELECT count(*) AS calls, count(DISTINCT key) AS keys, count(*) FILTER (WHERE answer IS NULL) AS busy FROM calls;

CREATE TABLE began AS SELECT :'began'::timestamptz AS at;
DO $$
BEGIN
    ASSERT (SELECT count(*) FROM places) = 50, 'each address has its place';
    ASSERT (SELECT count(*) FROM calls) = 55, 'those that were refused are called twice';
    ASSERT (SELECT count(DISTINCT key) FROM calls) = 50, 'with the same key';
    -- Ten at once, and then ten in each 200 ms.
    ASSERT (SELECT count(*) <= 10 + 10 * extract(epoch FROM max(c.at) - b.at) / 0.2 FROM calls c, began b GROUP BY b.at),
        'not more than the rate allows';
END $$;
