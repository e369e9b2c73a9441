-- What is measured and checked by tasks.sh: workflows that put tasks into queues, and what workers write.

-- Tasks that anybody may do at once, side by side. Lost ones are tried again soon, and as often as it takes.
CREATE FUNCTION batch(queue text, tasks integer, tenant integer DEFAULT NULL) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    handles integer[];
    result jsonb;
BEGIN
    FOR i IN 1..tasks LOOP
        handles[i] := wf_begin('work', queue => batch.queue, input => jsonb_build_object('n', i, 'tenant', tenant), key => tenant::text,
                               retry => '{"max_attempts": 0, "first_delay": "100 ms", "backoff": 1}');
    END LOOP;
    result := wf_await(handles);
    RETURN (SELECT count(*) FROM jsonb_array_elements(result) AS done WHERE (done->>'ok')::boolean);
END $$;

-- Puts so many tasks into a queue, by workflows of up to 100 each.
CREATE FUNCTION fill(queue text, tasks integer, tenant integer DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(wf_start('batch', jsonb_build_object('queue', fill.queue, 'tasks', least(100, fill.tasks - done), 'tenant', fill.tenant)))
    FROM generate_series(0, fill.tasks - 1, 100) AS done
$$;

CREATE TABLE effects (
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempt integer     NOT NULL,
    call    text        NOT NULL,
    worker  text        NOT NULL
);
COMMENT ON TABLE effects IS 'what workers do, in the transaction that completes the task: one row each. Without a key: a second row is to be seen';

CREATE TABLE claims (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant integer NOT NULL);
COMMENT ON TABLE claims IS 'whose tasks were claimed, in order';

CREATE TABLE tenants (tenant integer PRIMARY KEY, backlog integer NOT NULL);
COMMENT ON TABLE tenants IS 'what each had in the queue before the first claim, which came in in this order';
