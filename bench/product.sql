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

-- Starts units in one step and looks from time to time how many are left. input: {"units": 10000}
CREATE PROCEDURE fan_out(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    remaining jsonb;
BEGIN
    CALL wf_step('start', $sql$
        SELECT count(wf_start('one_step', jsonb_build_object('n', g))) FROM generate_series(1, ($1->>'units')::integer) AS g
    $sql$, input, remaining);
    LOOP
        CALL wf_step('count', 'SELECT ($1->>''units'')::bigint - count(*) FROM effects', input, remaining);
        EXIT WHEN (remaining->>0)::bigint <= 0;
        PERFORM wf_sleep('20 ms');
    END LOOP;
    result := '1';
END $$;

-- The same, and each unit tells it with a signal of its own. input: {"id": its own, "units": 10000}
CREATE PROCEDURE fan_out_signals(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    told jsonb;
BEGIN
    CALL wf_step('start', $sql$
        SELECT count(wf_start('fan_unit', jsonb_build_object('n', g, 'parent', $1->>'id')))
        FROM generate_series(1, ($1->>'units')::integer) AS g
    $sql$, input, told);
    FOR i IN 1..(input->>'units')::integer LOOP
        CALL wf_wait_signal('done', NULL, told);
    END LOOP;
    result := '1';
END $$;

-- No row is shared between units: each inserts what is its own.
CREATE FUNCTION fan_unit(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('add', $sql$
        WITH added AS (INSERT INTO effects (n) VALUES (($1->>'n')::bigint))
        SELECT wf_signal($1->>'parent', 'done')
    $sql$, input);
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
