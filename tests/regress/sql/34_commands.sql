-- Steps that are not transactional: commands of their own, at top level.
\set SHOW_CONTEXT never
CREATE TABLE goods (id int PRIMARY KEY, label text);
INSERT INTO goods SELECT i, 'item ' || i FROM generate_series(1, 100) i;
CREATE TABLE notes (id serial, note text);

CREATE FUNCTION command(sql text, input jsonb DEFAULT '{}', retry jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('command', sql, input, retry => retry, transactional => false);
END $$;
CREATE PROCEDURE outcome(sql text, input jsonb DEFAULT '{}', retry jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE id text;
BEGIN
    id := wf_start('command', jsonb_build_object('sql', sql, 'input', input, 'retry', retry));
    COMMIT;
    -- Without a snapshot, which an index that is made concurrently would wait for.
    FOR i IN 1..1000 LOOP
        EXIT WHEN wf_status(id) IN ('completed', 'failed', 'cancelled');
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
    BEGIN
        RAISE INFO '%', wf_result(id);
    EXCEPTION WHEN OTHERS THEN
        RAISE INFO '% %', SQLSTATE, SQLERRM;
    END;
END $$;

-- What cannot run inside of a transaction block.
CALL outcome('VACUUM (ANALYZE) goods');
CALL outcome('CREATE INDEX CONCURRENTLY goods_label ON goods (label)');
CALL outcome('REINDEX INDEX CONCURRENTLY goods_label');
SELECT indisvalid FROM pg_index WHERE indexrelid = 'goods_label'::regclass;
CALL outcome('DROP INDEX CONCURRENTLY goods_label');
CALL outcome($$ALTER SYSTEM SET pg_workflow.executor_idle_timeout = '61 s'$$);
CALL outcome('ALTER SYSTEM RESET pg_workflow.executor_idle_timeout');
-- Within a transaction it is refused as ever.
CREATE FUNCTION plain() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN wf_step('vacuum', 'VACUUM goods'); END $$;
SELECT wf_start('plain', id => 'plain');
SELECT wf_result('plain', wait => '30 s');

-- Results: rows, numbers of rows, kinds of commands. The input is $1 where a statement can have it.
CALL outcome('SELECT id, label FROM goods WHERE id <= ($1->>''max'')::int ORDER BY id', '{"max": 2}');
CALL outcome('SELECT id FROM goods WHERE id <= 2 ORDER BY id');
CALL outcome('SELECT id FROM goods WHERE id < 0');
CALL outcome('UPDATE goods SET label = upper(label) WHERE id <= 3');
CALL outcome('DELETE FROM goods WHERE id = 100 RETURNING id, label');
CALL outcome('SHOW search_path');
SET search_path = public, pg_temp;
CALL outcome('SHOW search_path');
RESET search_path;
CALL outcome('EXPLAIN (COSTS OFF) SELECT FROM goods');
CALL outcome('CREATE TABLE made AS SELECT $1->>''x'' AS x', '{"x": "y"}');
CALL outcome('VACUUM goods $1');
CALL outcome('-- nothing');

-- Several statements are one transaction, unless they say otherwise.
CALL outcome('INSERT INTO notes (note) VALUES (''one''); INSERT INTO notes (note) VALUES ($1->>''x'') RETURNING note', '{"x": "two"}');
CALL outcome('INSERT INTO notes (note) VALUES (''lost''); SELECT 1 / 0');
CALL outcome('INSERT INTO notes (note) VALUES (''lost''); VACUUM goods');
CALL outcome('BEGIN; INSERT INTO notes (note) VALUES (''three''); COMMIT; SELECT 1 / 0');
CALL outcome('BEGIN; INSERT INTO notes (note) VALUES (''lost'')');
CALL outcome('COPY notes TO STDOUT');
CALL outcome('COPY notes FROM STDIN');
CALL outcome('SELECT FROM nowhere');
CALL outcome('no sql at all');
SELECT note FROM notes ORDER BY id;

-- A constraint that fails at the commit is the error of the attempt.
CREATE TABLE later (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
CALL outcome('INSERT INTO later VALUES (1), (1)');
SELECT count(*) FROM later;

-- Functions and procedures by name, with named arguments. A procedure may commit.
CREATE FUNCTION label_of(id int) RETURNS text LANGUAGE sql AS 'SELECT g.label FROM goods g WHERE g.id = label_of.id';
CREATE FUNCTION labels(up_to int) RETURNS SETOF text LANGUAGE sql AS 'SELECT label FROM goods WHERE id <= up_to ORDER BY id';
CREATE FUNCTION nothing() RETURNS void LANGUAGE sql AS 'SELECT';
CALL outcome('label_of', '{"id": 7}');
CALL outcome('labels', '{"up_to": 2}');
CALL outcome('nothing');
CALL outcome('label_of', '{"no": 7}');
CREATE PROCEDURE halves(texts text[], at timestamptz, odd json, INOUT total int, quoted text DEFAULT 'none') LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO notes (note) SELECT unnest(texts);
    COMMIT;
    INSERT INTO notes (note) VALUES (at::text), (odd->>'a'), (quoted);
    total := total + (SELECT count(*) FROM notes);
    ROLLBACK;
END $$;
CALL outcome('halves', $${"texts": ["a'b", "c\\d", null], "at": "2026-01-01 00:00+00", "odd": {"a": 1}, "total": 100, "quoted": "o'clock"}$$);
CREATE PROCEDURE whole(input jsonb) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO notes (note) VALUES (input->>'x');
    COMMIT;
    RAISE 'behind the commit' USING ERRCODE = 'P0042';
END $$;
CALL outcome('whole', '{"x": "kept"}');
SELECT note FROM notes ORDER BY id;

-- Retries, by the step's policy; its own error where it is caught.
CREATE SEQUENCE tries;
CREATE PROCEDURE third_time() LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('tries') < 3 THEN RAISE 'not yet' USING ERRCODE = 'P0043'; END IF;
END $$;
CALL outcome('third_time', '{}', '{"max_attempts": 3, "first_delay": "10 ms"}');
SELECT kind, status, attempt FROM wf.steps ORDER BY started_at DESC LIMIT 1;
CREATE FUNCTION catches() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('fails', 'SELECT 1 / 0', transactional => false);
EXCEPTION WHEN division_by_zero THEN
    RETURN 'caught ' || SQLERRM;
END $$;
SELECT wf_start('catches', id => 'catches');
SELECT wf_result('catches', wait => '30 s');
SELECT name, kind, status, sqlstate FROM wf.steps WHERE id = 'catches';

-- Timeouts.
CREATE FUNCTION naps(one interval, every interval) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('nap', 'SELECT pg_sleep(60)', timeout => one, total_timeout => every, transactional => false);
END $$;
SELECT wf_start('naps', '{"one": "50 ms", "every": null}', id => 'one');
SELECT wf_start('naps', '{"one": null, "every": "50 ms"}', id => 'every');
SELECT wf_start('naps', '{"one": null, "every": null}', id => 'run', timeout => '50 ms');
\set VERBOSITY sqlstate
SELECT wf_result('one', wait => '30 s');
SELECT wf_result('every', wait => '30 s');
SELECT wf_result('run', wait => '30 s');
\set VERBOSITY default

-- What a command sets does not meet the next piece of work.
CREATE FUNCTION leaves_traces() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE before jsonb; after jsonb;
BEGIN
    before := wf_step('before', 'SELECT current_setting(''work_mem''), current_setting(''search_path''), current_user');
    PERFORM wf_step('sets', 'SET work_mem = ''1234 kB''; SET search_path = nowhere; SET ROLE pg_monitor;
                             SELECT pg_advisory_lock(4711); CREATE TEMP TABLE left_over ()', transactional => false);
    PERFORM wf_step('becomes', 'SET SESSION AUTHORIZATION pg_monitor', transactional => false);
    after := wf_step('after', 'SELECT current_setting(''work_mem''), current_setting(''search_path''), current_user');
    RETURN jsonb_build_object('same', before = after,
                              'locks', wf_step('locks', 'SELECT count(*) FROM pg_locks WHERE locktype = ''advisory'' AND objid = 4711'));
END $$;
SELECT wf_start('leaves_traces', id => 'traces');
SELECT wf_result('traces', wait => '30 s');

-- Begun and awaited; in a procedure; together with the cache.
CREATE FUNCTION beside() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE a int := wf_begin('a', 'VACUUM goods', transactional => false);
        b int := wf_begin('b', 'SELECT 1', transactional => false);
BEGIN
    RETURN jsonb_build_array(wf_await(a), wf_await(b));
END $$;
SELECT wf_start('beside', id => 'beside');
SELECT wf_result('beside', wait => '30 s');
CREATE PROCEDURE in_turn(INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE a jsonb; b jsonb; c jsonb;
BEGIN
    CALL wf_step('one', 'SELECT 1', '{}', a);
    CALL wf_step('vacuum', 'VACUUM goods', '{}', b, transactional => false);
    CALL wf_step('two', 'SELECT 2', '{}', c);
    result := jsonb_build_array(a, b, c);
END $$;
SELECT wf_start('in_turn', id => 'in_turn');
SELECT wf_result('in_turn', wait => '30 s');
SELECT n, name, kind, status FROM wf.steps WHERE id = 'in_turn' ORDER BY n;
CREATE FUNCTION cached() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('first', 'INSERT INTO notes (note) VALUES (''cached'') RETURNING note', cache_key => 'c', transactional => false);
    RETURN wf_step('second', 'SELECT 1 / 0', cache_key => 'c', transactional => false);
END $$;
SELECT wf_start('cached', id => 'cached');
SELECT wf_result('cached', wait => '30 s');

-- What a step starts or signals has its effect with the commit of that.
CREATE FUNCTION listens() RETURNS jsonb LANGUAGE plpgsql AS 'BEGIN RETURN wf_wait_signal(''go''); END';
SELECT wf_start('listens', id => 'listens');
CALL outcome($$SELECT wf_signal('listens', 'go', '"gone"')$$);
SELECT wf_result('listens', wait => '30 s');
CALL outcome($$SELECT wf_step('inner', 'SELECT 1')$$);

-- In a test it needs a mock; a session that runs pending work leaves it to the workers.
SELECT wf_test('command', '{"sql": "VACUUM goods"}', mocks => '{"command": {"result": "VACUUM"}}')->'result' AS mocked;
SELECT wf_test('command', '{"sql": "VACUUM goods"}')->'error'->>'message' AS unmocked;
BEGIN;
SELECT wf_start('command', '{"sql": "VACUUM goods"}', id => 'pending');
CALL wf_run_pending();
SELECT waiting_for FROM wf.workflows WHERE id = 'pending';
COMMIT;
SELECT wf_result('pending', wait => '30 s');

-- An operator answers it by hand, or has it tried again.
CREATE FUNCTION stuck() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('stuck', 'SELECT 1 / 0', retry => '{"first_delay": "1 hour"}', transactional => false);
END $$;
SELECT wf_start('stuck', id => 'skipped');
SELECT wf_start('command', '{"sql": "SELECT count(*) FROM not_yet"}', id => 'again');
SELECT wf_result('again', wait => '30 s');
CREATE TABLE not_yet ();
SELECT wf_retry('again');
SELECT wf_result('again', wait => '30 s');
DO $$ BEGIN
    WHILE NOT EXISTS (SELECT FROM wf.branches WHERE id = 'skipped' AND status = 'retrying') LOOP
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
END $$;
SELECT wf_complete_step('skipped', 'stuck', '"by hand"');
SELECT wf_result('skipped', wait => '30 s');

CREATE FUNCTION undecided() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN wf_step('undecided', 'SELECT 1', transactional => NULL); END $$;
SELECT wf_start('undecided', id => 'undecided');
SELECT wf_result('undecided', wait => '30 s');
SELECT count(*) FROM wf_internal.commands;
