-- A workflow function decides and steps act: whoever mixes that up is told.
CREATE TABLE things (n int);
CREATE SEQUENCE counter;
CREATE FUNCTION writes(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('first', 'SELECT 1');
    INSERT INTO things VALUES (1);
    RETURN '"not reached"';
END $$;
SELECT wf_start('writes', id => 'writes');
SELECT wf_result('writes', wait => '10 s');
\echo :SQLSTATE

-- Each forbidden act in a function of its own.
CREATE FUNCTION acts(act text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    r text;
    detail text;
    hint text;
BEGIN
    EXECUTE act;
    RETURN '"done"';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN jsonb_build_array(SQLSTATE, SQLERRM, detail, hint);
END $$;
CREATE FUNCTION act(act text) RETURNS TABLE (code text, message text, detail text, hint text) LANGUAGE sql AS $$
    SELECT CASE WHEN jsonb_typeof(r) = 'array' THEN r->>0 ELSE r#>>'{}' END, r->>1, nullif(r->>2, ''), r->>3 FROM wf_result('act ' || act, wait => '10 s') AS r
$$;
CREATE FUNCTION begin_act(act text) RETURNS text LANGUAGE sql AS $$ SELECT wf_start('acts', jsonb_build_object('act', act), id => 'act ' || act) $$;
CREATE TABLE acts (n int GENERATED ALWAYS AS IDENTITY, act text);
INSERT INTO acts (act) VALUES
    ('INSERT INTO things VALUES (2)'), ('UPDATE things SET n = 1'), ('DELETE FROM things'), ('TRUNCATE things'),
    ('CREATE TABLE more (n int)'), ('CREATE TEMP TABLE mine (n int)'), ('DROP TABLE things'), ('SELECT nextval(''counter'')'), ('SELECT setval(''counter'', 5)'),
    ('NOTIFY things'), ('SELECT FROM things FOR UPDATE'), ('LOCK TABLE things'), ('COMMENT ON TABLE things IS ''x'''), ('SELECT pg_advisory_lock(1)'),
    ('SET TRANSACTION READ WRITE'), ('SELECT set_config(''transaction_read_only'', ''off'', false)'), ('COMMIT'),
    ('SELECT wf_start(''acts'', ''{"act": "SELECT 1"}'')'), ('SELECT wf_signal(''writes'', ''x'')'), ('SELECT wf_cancel(''writes'')'),
    ('SELECT wf_define(''x'', ''acts'')'), ('SELECT wf_undefine(''x'')'), ('CALL wf_run_pending()'), ('SELECT wf_status(''writes'')'), ('SELECT count(*) FROM things');
SELECT count(begin_act(act)) FROM acts;
SELECT a.act, r.* FROM acts a, act(a.act) r ORDER BY a.n;
SELECT last_value, is_called FROM counter;
SELECT count(*) FROM things;

-- The same in a step.
CREATE FUNCTION acts_in_step(act text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    hint text;
BEGIN
    PERFORM wf_step('act', act);
    RETURN '"done"';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN jsonb_build_array(SQLSTATE, SQLERRM, detail, hint);
END $$;
DROP FUNCTION begin_act, act;
CREATE FUNCTION act(act text) RETURNS TABLE (code text, message text, detail text, hint text) LANGUAGE sql AS $$
    SELECT CASE WHEN jsonb_typeof(r) = 'array' THEN r->>0 ELSE r#>>'{}' END, r->>1, nullif(r->>2, ''), r->>3 FROM wf_result('step ' || act, wait => '10 s') AS r
$$;
CREATE FUNCTION begin_act(act text) RETURNS text LANGUAGE sql AS $$ SELECT wf_start('acts_in_step', jsonb_build_object('act', act), id => 'step ' || act) $$;
TRUNCATE acts RESTART IDENTITY;
INSERT INTO acts (act) VALUES
    ('SELECT wf_step(''inner'', ''SELECT 1'')'), ('SELECT wf_sleep(''1 s'')'), ('SELECT wf_sleep_until(now())'), ('SELECT wf_wait_signal(''a'')'), ('SELECT wf_set(''a'', ''1'')'),
    ('SELECT wf_now()'), ('SELECT wf_random()'), ('SELECT wf_uuid()'), ('CALL wf_run_pending()'),
    ('SELECT wf_start(''writes'', id => ''from a step'')'), ('SELECT wf_signal(''not there'', ''x'')'), ('SELECT wf_define(''x'', ''acts'')'), ('SELECT wf_undefine(''x'')'),
    ('SELECT wf_status(''writes'')'), ('CREATE TEMP TABLE mine (n int)'), ('SELECT nextval(''counter'')'), ('SELECT pg_advisory_lock(2)');
SELECT count(begin_act(act)) FROM acts;
SELECT a.act, r.* FROM acts a, act(a.act) r ORDER BY a.n;
SELECT wf_result('from a step', wait => '10 s');
SELECT last_value, is_called FROM counter;
-- Locks of a session's do not stay behind either.
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- Outside of a workflow.
SELECT wf_step('a', 'SELECT 1');
\echo :SQLSTATE
SELECT wf_sleep('1 s');
SELECT wf_sleep_until(now());
SELECT wf_wait_signal('a');
SELECT wf_set('a', '1');
SELECT wf_now();
SELECT wf_random();
SELECT wf_uuid();
SELECT acts_in_step('SELECT 1');

-- What a step sets is put back behind it.
CREATE FUNCTION sets(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    seen jsonb[] := '{}';
BEGIN
    seen := seen || wf_step('set', 'SET work_mem = ''1MB''; SET LOCAL datestyle = ''German''; SET search_path = pg_catalog; SHOW work_mem');
    seen := seen || wf_step('see', 'SELECT current_setting(''work_mem'') AS work_mem, current_setting(''datestyle'') AS datestyle, current_setting(''search_path'') AS path');
    seen := seen || to_jsonb(current_setting('work_mem'));
    PERFORM set_config('work_mem', '2MB', false);
    PERFORM wf_step('again', 'SELECT 1');
    seen := seen || wf_step('see 2', 'SHOW work_mem');
    RETURN to_jsonb(seen);
END $$;
SELECT wf_start('sets', id => 'sets');
SELECT wf_result('sets', wait => '10 s');

-- A replay that takes another path than its history.
CREATE TABLE switch (position text);
INSERT INTO switch VALUES ('left');
CREATE FUNCTION wavers(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT position FROM switch) = 'left' THEN
        PERFORM wf_step('left', 'UPDATE switch SET position = ''right''');
    ELSE
        PERFORM wf_step('right', 'SELECT 1');
    END IF;
    RETURN '"done"';
END $$;
SELECT wf_start('wavers', id => 'wavers');
SELECT wf_result('wavers', wait => '10 s');
\echo :SQLSTATE
SELECT n, name, status FROM wf.steps WHERE id = 'wavers';
UPDATE switch SET position = 'left';
CREATE FUNCTION shortens(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT position FROM switch) = 'left' THEN
        PERFORM wf_step('left', 'UPDATE switch SET position = ''right''');
    END IF;
    RETURN '"done"';
END $$;
SELECT wf_start('shortens', id => 'shortens');
SELECT wf_result('shortens', wait => '10 s');
UPDATE switch SET position = 'left';
CREATE FUNCTION changes_kind(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT position FROM switch) = 'left' THEN
        PERFORM wf_step('move', 'UPDATE switch SET position = ''right''');
    ELSE
        PERFORM wf_sleep('1 s', name => 'move');
    END IF;
    RETURN '"done"';
END $$;
SELECT wf_start('changes_kind', id => 'kind');
SELECT wf_result('kind', wait => '10 s');
UPDATE switch SET position = 'left';
-- One that ends with an error because it lost its way.
CREATE FUNCTION stumbles(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT position FROM switch) = 'left' THEN
        PERFORM wf_step('left', 'UPDATE switch SET position = ''right''');
        RETURN '"done"';
    END IF;
    RAISE EXCEPTION 'lost';
END $$;
SELECT wf_start('stumbles', id => 'stumbles');
SELECT wf_result('stumbles', wait => '10 s');
-- Steps are found by their names: two that change places find their answers all the same.
CREATE TABLE orders (n int);
CREATE FUNCTION reorders(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    rounds int := (SELECT count(*) FROM orders);
BEGIN
    IF rounds = 2 THEN
        PERFORM wf_step('b', 'INSERT INTO orders VALUES (1)');
        PERFORM wf_step('a', 'INSERT INTO orders VALUES (1)');
    ELSE
        PERFORM wf_step('a', 'INSERT INTO orders VALUES (1)');
        PERFORM wf_step('b', 'INSERT INTO orders VALUES (1)');
    END IF;
    PERFORM wf_step('c', 'SELECT 1');
    RETURN to_jsonb(rounds);
END $$;
SELECT wf_start('reorders', id => 'reorders');
SELECT wf_result('reorders', wait => '10 s');
SELECT n, name, status FROM wf.steps WHERE id = 'reorders' ORDER BY n;
