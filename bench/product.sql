-- What is measured: workflows whose steps insert one row each. As role bench, in a database that has the extension.

CREATE TABLE effects (n bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
COMMENT ON TABLE effects IS 'what steps and jobs of the queue do: one row each';

CREATE FUNCTION add_effect(n bigint) RETURNS void LANGUAGE sql AS $$ INSERT INTO effects (n) VALUES (n) $$;

CREATE FUNCTION one_step(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('add', 'INSERT INTO effects (n) VALUES (($1->>''n'')::bigint)', input);
END $$;

CREATE FUNCTION one_step_function(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('add', 'add_effect', input);
END $$;

-- input: {"n": 1, "steps": 5}
CREATE FUNCTION many_steps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..(input->>'steps')::integer LOOP
        PERFORM wf_step('add', 'INSERT INTO effects (n) VALUES (($1->>''n'')::bigint)', input);
    END LOOP;
    RETURN '1';
END $$;

-- The same as a procedure, whose steps need no replay.
CREATE PROCEDURE many_steps_procedure(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..(input->>'steps')::integer LOOP
        CALL wf_step('add', 'INSERT INTO effects (n) VALUES (($1->>''n'')::bigint)', input, result);
    END LOOP;
    result := '1';
END $$;

-- As many_steps, each result assigned: an expression that PL/pgSQL evaluates itself.
CREATE FUNCTION many_steps_assigned(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    added jsonb;
BEGIN
    FOR i IN 1..(input->>'steps')::integer LOOP
        added := wf_step('add', 'INSERT INTO effects (n) VALUES (($1->>''n'')::bigint)', input);
    END LOOP;
    RETURN added;
END $$;

-- One step for each of a set of items. input: {"units": 10000}
CREATE FUNCTION fan_out(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_map('add', 'INSERT INTO effects (n) VALUES (($1 #>> ''{}'')::bigint)',
                   query => 'SELECT generate_series(1, ($1->>''units'')::integer)', input => input);
    RETURN '1';
END $$;

-- The same, each begun by the workflow itself.
CREATE FUNCTION fan_out_begun(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    handles integer[];
BEGIN
    FOR i IN 1..(input->>'units')::integer LOOP
        handles[i] := wf_begin('add', 'add_effect', jsonb_build_object('n', i));
    END LOOP;
    PERFORM wf_await(handles);
    RETURN '1';
END $$;

CREATE FUNCTION nap(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_sleep_until((input->>'until')::timestamptz);
    RETURN 'null';
END $$;

CREATE FUNCTION sleeper(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_sleep('30 days');
    RETURN 'null';
END $$;

-- Keeps an executor occupied, so that there come to be as many as may be.
CREATE FUNCTION occupy(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('wait', 'SELECT pg_sleep(0.2)', input);
END $$;
