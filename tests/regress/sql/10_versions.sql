-- An instance finishes on the code that it started with.
-- Waits for a status.
CREATE FUNCTION until(id text, status text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN wf_status(id) = status;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN wf_status(id);
END $$;
CREATE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_wait_signal('go');
    RETURN '"version 1"';
END $$;
SELECT wf_start('flow', id => 'v1-a');
SELECT wf_start('flow', id => 'v1-b');
SELECT until('v1-a', 'waiting'), until('v1-b', 'waiting');
CREATE OR REPLACE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('new', 'SELECT 1');
    PERFORM wf_wait_signal('go');
    RETURN '"version 2"';
END $$;
SELECT wf_start('flow', id => 'v2-a');
SELECT until('v2-a', 'waiting');
SELECT wf_signal('v1-a', 'go'), wf_signal('v2-a', 'go');
SELECT wf_result('v1-a', wait => '10 s'), wf_result('v2-a', wait => '10 s');
SELECT id, version, status FROM wf.workflows ORDER BY id;
SELECT workflow, version, function, open_instances, first_started <= now() AS first_started, source LIKE '%version ' || version || '%' AS source FROM wf.definitions ORDER BY version;
-- Another setting of the function is another version; the old code put back is the old version.
ALTER FUNCTION flow(jsonb) SET work_mem = '1MB';
SELECT wf_start('flow', id => 'v3-a');
ALTER FUNCTION flow(jsonb) RESET work_mem;
SELECT wf_start('flow', id => 'v2-b');
SELECT id, version FROM wf.workflows ORDER BY id;
-- Dropped altogether.
SELECT until('v3-a', 'waiting'), until('v2-b', 'waiting');
DROP FUNCTION flow(jsonb);
SELECT wf_start('flow', id => 'too-late');
SELECT wf_signal(id, 'go') FROM unnest('{v1-b,v2-b,v3-a}'::text[]) AS id;
SELECT wf_result('v1-b', wait => '10 s'), wf_result('v2-b', wait => '10 s'), wf_result('v3-a', wait => '10 s');
SELECT version, open_instances FROM wf.definitions WHERE workflow = 'flow' ORDER BY version;
-- The result type may change too, once the function is made anew.
CREATE FUNCTION flow(input jsonb) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 4; END $$;
SELECT wf_start('flow', id => 'v4-a');
SELECT wf_result('v4-a', wait => '10 s');
SELECT version FROM wf.workflows WHERE id = 'v4-a';

-- Dropped and replaced before the first turn: delayed starts are pinned as well.
CREATE FUNCTION later(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '"as it was"'; END $$;
SELECT wf_start('later', id => 'later', delay => '300 ms');
CREATE OR REPLACE FUNCTION later(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '"as it is"'; END $$;
SELECT wf_result('later', wait => '10 s');
-- A SQL function's body is pinned too; what it calls is not.
CREATE FUNCTION greeting() RETURNS text LANGUAGE sql AS $$ SELECT 'old' $$;
CREATE FUNCTION in_sql(input jsonb) RETURNS jsonb LANGUAGE sql
BEGIN ATOMIC
    SELECT wf_wait_signal('go');
    SELECT jsonb_build_array(greeting(), 'first');
END;
SELECT wf_start('in_sql', id => 'sql');
SELECT until('sql', 'waiting');
CREATE OR REPLACE FUNCTION in_sql(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"second"'::jsonb $$;
CREATE OR REPLACE FUNCTION greeting() RETURNS text LANGUAGE sql AS $$ SELECT 'new' $$;
SELECT wf_signal('sql', 'go');
SELECT wf_result('sql', wait => '10 s');
-- Names in the code keep their meaning: the search_path of the start counts.
CREATE SCHEMA a;
CREATE SCHEMA b;
CREATE FUNCTION a.who() RETURNS text LANGUAGE sql AS $$ SELECT 'a' $$;
CREATE FUNCTION b.who() RETURNS text LANGUAGE sql AS $$ SELECT 'b' $$;
CREATE FUNCTION asks(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN jsonb_build_array(who(), wf_step('who', 'who'), wf_step('who', 'SELECT who()'));
END $$;
SET search_path = a, public;
SELECT wf_start('asks', id => 'in-a');
SET search_path = b, public;
SELECT wf_start('asks', id => 'in-b');
RESET search_path;
SELECT wf_result('in-a', wait => '10 s'), wf_result('in-b', wait => '10 s');
SELECT id, version FROM wf.workflows WHERE workflow = 'asks' ORDER BY id;

-- Names of their own, with options.
CREATE FUNCTION ship(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    PERFORM wf_wait_signal('go');
    RETURN wf_step('fail', 'SELECT 1 / 0');
EXCEPTION WHEN division_by_zero THEN
    RETURN '"gave up"';
END $$;
SELECT wf_define('shipping', 'ship', '{"retry": {"max_attempts": 2, "first_delay": "1 ms"}, "timeout": "1 hour", "priority": -7, "step_timeout": "10 s"}');
SELECT wf_start('shipping', id => 'ship-1');
SELECT id, workflow, version, priority, deadline - created_at = '1 hour' AS an_hour FROM wf.workflows WHERE id = 'ship-1';
SELECT until('ship-1', 'waiting');
-- Options given anew count for later starts.
SELECT wf_define('shipping', 'public.ship', '{"retry": {"max_attempts": 3, "first_delay": "1 ms"}}');
SELECT wf_start('shipping', id => 'ship-2');
SELECT wf_start('shipping', id => 'ship-3', priority => 3, timeout => '1 day');
SELECT until('ship-2', 'waiting'), until('ship-3', 'waiting');
SELECT wf_undefine('shipping');
SELECT wf_undefine('shipping');
SELECT wf_start('shipping', id => 'ship-4');
SELECT wf_signal('ship-1', 'go'), wf_signal('ship-2', 'go'), wf_signal('ship-3', 'go');
SELECT wf_result('ship-1', wait => '10 s'), wf_result('ship-2', wait => '10 s'), wf_result('ship-3', wait => '10 s');
SELECT id, status, priority, deadline - created_at AS timeout FROM wf.workflows WHERE workflow = 'shipping' ORDER BY id;
SELECT id, attempt FROM wf.steps WHERE workflow = 'shipping' AND name = 'fail' ORDER BY id;
-- Names that are no identifiers, and names that hide a function.
SELECT wf_define('ship an order!', 'ship');
SELECT wf_start('ship an order!', '1', id => 'odd');
SELECT wf_status('odd') <> 'failed' AS started;
SELECT wf_define('later', 'ship');
SELECT wf_start('later', id => 'hidden', delay => '1 day');
SELECT workflow, function FROM wf.definitions WHERE function LIKE '%ship%' ORDER BY workflow;
SELECT wf_undefine('later');
-- What is refused.
SELECT wf_define('x', 'no_such_function');
\echo :SQLSTATE
SELECT wf_define('', 'ship');
CREATE FUNCTION over(a int) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;
CREATE FUNCTION over(a text) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);
SELECT wf_define('x', 'over');
\echo :SQLSTATE
SELECT wf_define('x', 'total');
SELECT wf_define('x', 'ship', '[]');
\echo :SQLSTATE
SELECT wf_define('x', 'ship', '{"prio": 1}');
SELECT wf_define('x', 'ship', '{"priority": 5000}');
SELECT wf_define('x', 'ship', '{"timeout": "soon"}');
SELECT wf_define('x', 'ship', '{"timeout": "0"}');
SELECT wf_define('x', 'ship', '{"retry": {"tries": 1}}');
SELECT wf_define('x', 'ship', '{"retry": 5}');
SELECT wf_define(NULL, 'ship');
SELECT wf_define('x', NULL);
SELECT wf_define('x', 'ship', NULL);
SELECT wf_start('x');
