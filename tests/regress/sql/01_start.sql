-- Starting a workflow and getting its result.
-- Waits for a status.
CREATE FUNCTION until(id text, status text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN wf_status(id) = status;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN wf_status(id);
END $$;
CREATE FUNCTION greet(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN jsonb_build_object('greeting', 'hello ' || (input->>'name'));
END $$;
CREATE FUNCTION nothing() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN 'nothing asked, nothing given'; END $$;
CREATE FUNCTION area(width int, height int DEFAULT 2, unit text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (width * height)::text || coalesce(unit, '');
END $$;
CREATE FUNCTION plain_json(input json) RETURNS json LANGUAGE sql AS $$ SELECT json_build_array($1) $$;
CREATE FUNCTION unnamed(jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT $1 $$;
CREATE FUNCTION silent(input jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE SCHEMA "My Shop";
CREATE FUNCTION "My Shop"."Do It"(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"done"'::jsonb $$;

-- A function needs no definition: its name is the workflow.
SELECT wf_start('greet', '{"name": "Ada"}', id => 'greet-1');
SELECT wf_result('greet-1', wait => '10 s');
SELECT wf_status('greet-1');
SELECT wf_start('nothing', id => 'nothing-1');
SELECT wf_result('nothing-1', wait => '10 s');
SELECT wf_start('area', '{"width": 3}', id => 'area-1');
SELECT wf_result('area-1', wait => '10 s');
SELECT wf_start('area', '{"width": 3, "height": 5, "unit": " m2"}', id => 'area-2');
SELECT wf_result('area-2', wait => '10 s');
-- NULL is a value, not a key left out.
SELECT wf_start('area', '{"width": 3, "height": null}', id => 'area-3');
SELECT wf_result('area-3', wait => '10 s') IS NULL AS is_null;
SELECT wf_start('plain_json', '[1, 2]', id => 'json-1');
SELECT wf_result('json-1', wait => '10 s');
SELECT wf_start('unnamed', '"any value"', id => 'unnamed-1');
SELECT wf_result('unnamed-1', wait => '10 s');
SELECT wf_start('silent', id => 'silent-1');
SELECT wf_result('silent-1', wait => '10 s') IS NULL AS is_null;
SELECT wf_start('public.greet', '{"name": "Bob"}', id => 'qualified-1');
SELECT wf_result('qualified-1', wait => '10 s');
SELECT wf_start('"My Shop"."Do It"', id => 'quoted-1');
SELECT wf_result('quoted-1', wait => '10 s');
-- Unquoted names are folded, as everywhere.
SELECT wf_start('GREET', '{"name": "Eve"}', id => 'folded-1');
SELECT wf_result('folded-1', wait => '10 s');

-- Without an id of the caller's it is a UUID; arguments may be a query's.
SELECT wf_start('greet', '{"name": "Joe"}') AS made \gset
SELECT :'made' ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' AS is_uuid7;
SELECT wf_result(:'made', wait => '10 s');
SELECT count(DISTINCT wf_start('greet', jsonb_build_object('name', n))) FROM generate_series(1, 20) AS n;

-- A start takes effect with its transaction.
BEGIN;
SELECT wf_start('greet', '{"name": "nobody"}', id => 'undone');
SELECT wf_status('undone');
ROLLBACK;
SELECT wf_status('undone');
BEGIN;
SAVEPOINT s;
SELECT wf_start('greet', '{"name": "nobody"}', id => 'half');
ROLLBACK TO s;
SELECT wf_start('greet', '{"name": "somebody"}', id => 'half');
COMMIT;
SELECT wf_result('half', wait => '10 s');

-- What an instance looks like as one object.
SELECT key, CASE WHEN key IN ('created_at', 'started_at', 'finished_at') THEN to_jsonb((value#>>'{}')::timestamptz <= clock_timestamp())
                 WHEN key = 'run_id' THEN to_jsonb(length(value#>>'{}')) ELSE value END AS value
FROM jsonb_each(wf_get('greet-1'));

-- Before the end, and after a bad one.
CREATE FUNCTION waiter(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_wait_signal('go');
END $$;
CREATE FUNCTION failing(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'out of stock' USING ERRCODE = 'SH001', DETAIL = 'Nothing is left of item 7.', HINT = 'Order some.';
END $$;
SELECT wf_start('waiter', id => 'waiter-1');
SELECT until('waiter-1', 'waiting');
SELECT wf_result('waiter-1', wait => '0.1 s');
SELECT wf_result('waiter-1');
\echo :SQLSTATE
SELECT wf_start('waiter', id => 'later', delay => '1 day');
SELECT wf_result('later');
SELECT wf_start('failing', id => 'failing-1');
SELECT wf_result('failing-1', wait => '10 s');
\echo :SQLSTATE
SELECT wf_status('failing-1');
SELECT wf_get('failing-1')->'error' AS error;
SELECT wf_cancel('waiter-1', 'not needed any more');
SELECT wf_result('waiter-1', wait => '10 s');
\echo :SQLSTATE
SELECT wf_status('waiter-1');
SELECT wf_cancel('waiter-1');
SELECT wf_cancel('later');
SELECT wf_result('later', wait => '10 s');
-- A reason may end as a sentence does.
SELECT wf_start('waiter', id => 'waiter-2');
SELECT until('waiter-2', 'waiting');
SELECT wf_cancel('waiter-2', 'The customer has withdrawn.');
SELECT wf_result('waiter-2', wait => '10 s');

-- A result that nobody could give: waiting in the transaction that starts.
BEGIN;
SELECT wf_start('greet', '{"name": "Ada"}', id => 'own');
SELECT wf_result('own', wait => '10 s');
\echo :SQLSTATE
ROLLBACK;
SELECT wf_start('waiter', id => 'waiter-3');
SELECT until('waiter-3', 'waiting');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT wf_result('waiter-3', wait => '10 s');
\echo :SQLSTATE
ROLLBACK;

-- Nobody of that id.
SELECT wf_status('nobody');
SELECT wf_result('nobody');
SELECT wf_get('nobody');
SELECT wf_cancel('nobody');
SELECT wf_signal('nobody', 'go');
\echo :SQLSTATE
