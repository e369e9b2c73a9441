-- What operators do for calls that others work on: retries that do not do again what is done, and answers by hand.
\set SHOW_CONTEXT never
CREATE TABLE done (what text);
CREATE TABLE broken (what text);
CREATE FUNCTION act(what text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM broken b WHERE b.what = act.what) THEN RAISE '% is broken', what; END IF;
    INSERT INTO done VALUES (what);
    RETURN what;
END $$;

-- A map: items that are done stay done.
INSERT INTO broken VALUES ('b');
CREATE FUNCTION maps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_map('acts', 'act', '[{"what": "a"}, {"what": "b"}, {"what": "c"}, {"what": "d"}]', max_parallel => 1, tolerate => 0);
END $$;
SELECT wf_start('maps', id => 'map');
SELECT wf_result('map', wait => '10 s');
DELETE FROM broken;
SELECT wf_retry('map', 'mended');
SELECT wf_result('map', wait => '10 s');
SELECT what FROM done ORDER BY what;
SELECT item, status, attempt FROM wf.branches WHERE id = 'map' ORDER BY item;

-- A begun step.
TRUNCATE done;
INSERT INTO broken VALUES ('y');
CREATE FUNCTION begins(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE x int := wf_begin('x', 'act', '{"what": "x"}'); y int := wf_begin('y', 'act', '{"what": "y"}');
BEGIN
    PERFORM wf_step('z', 'act', '{"what": "z"}');
    RETURN jsonb_build_array(wf_await(x), wf_await(y));
END $$;
SELECT wf_start('begins', id => 'begun');
SELECT wf_result('begun', wait => '10 s');
DELETE FROM broken;
SELECT wf_retry('begun');
SELECT wf_result('begun', wait => '10 s');
SELECT what FROM done ORDER BY what;

-- A child goes on where it has failed, and a child of a map.
TRUNCATE done;
INSERT INTO broken VALUES ('n');
CREATE FUNCTION child(n text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('first', 'act', jsonb_build_object('what', 'before ' || n));
    RETURN wf_step('second', 'act', jsonb_build_object('what', n));
END $$;
CREATE FUNCTION calls(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_call('child', 'child', '{"n": "n"}'); END $$;
CREATE FUNCTION maps_children(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN wf_map('children', workflow => 'child', items => '[{"n": "m"}, {"n": "n"}]'); END $$;
SELECT wf_start('calls', id => 'parent');
SELECT wf_result('parent', wait => '10 s');
SELECT wf_start('maps_children', id => 'parents');
SELECT wf_result('parents', wait => '10 s');
DELETE FROM broken;
SELECT wf_retry('parent'), wf_retry('parents');
SELECT wf_result('parent', wait => '10 s'), wf_result('parents', wait => '10 s');
SELECT what, count(*) FROM done GROUP BY 1 ORDER BY 1;
SELECT id, run, status FROM wf.workflows WHERE parent LIKE 'parent%' ORDER BY id;

-- Of many, in some the other child ends just behind its parent, which takes no answer any more.
INSERT INTO broken VALUES ('n');
CREATE FUNCTION all_are(status text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..2000 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM wf.workflows w WHERE w.id LIKE 'many%' AND w.status NOT IN ('completed', 'failed', 'cancelled'))
              AND NOT EXISTS (SELECT FROM wf.workflows w WHERE w.id ~ '^many[0-9]+$' AND w.status <> all_are.status);
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN NOT EXISTS (SELECT FROM wf.workflows w WHERE w.id ~ '^many[0-9]+$' AND w.status <> all_are.status);
END $$;
SELECT count(wf_start('maps_children', id => 'many' || i)) FROM generate_series(1, 100) AS i;
SELECT all_are('failed');
DELETE FROM broken;
SELECT count(wf_retry('many' || i)) FROM generate_series(1, 100) AS i;
SELECT all_are('completed');
SELECT DISTINCT result FROM wf.workflows WHERE id ~ '^many[0-9]+$';

-- What was undone is not gone on with.
CREATE FUNCTION undoes(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_compensate('undo', 'SELECT 1');
    RAISE 'no';
END $$;
SELECT wf_start('undoes', id => 'undone');
SELECT wf_result('undone', wait => '10 s');
SELECT wf_retry('undone');

-- By hand: a wait, a step that is tried again, the call that a run has failed at, a map.
INSERT INTO broken VALUES ('r'), ('f');
CREATE FUNCTION stands(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE got jsonb := '[]';
BEGIN
    got := got || coalesce(wf_wait_signal('approval'), 'null');
    got := got || wf_step('tried', 'act', '{"what": "r"}', retry => '{"first_delay": "1 hour", "max_attempts": 0}');
    PERFORM wf_sleep('1 day', 'night');
    got := got || wf_step('failing', 'act', '{"what": "f"}');
    RETURN got;
END $$;
CREATE FUNCTION stands_at(what text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN EXISTS (SELECT FROM wf.workflows WHERE id = 'stands' AND waiting_for LIKE what);
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN (SELECT regexp_replace(waiting_for, ' (until|at) .*', '') FROM wf.workflows WHERE id = 'stands');
END $$;
SELECT wf_start('stands', id => 'stands');
SELECT stands_at('signal%');
SELECT wf_complete_step('stands', 'nothing', '1');
SELECT wf_complete_step('stands', 'approval', '"by hand"', 'the form is broken');
SELECT stands_at('retry%');
SELECT wf_complete_step('stands', 'tried', '"done outside"');
SELECT stands_at('sleep%');
SELECT wf_skip('stands', 'not tonight');
SELECT wf_result('stands', wait => '10 s');
SELECT wf_complete_step('stands', 'tried', '1');
SELECT wf_complete_step('stands', 'failing', '"as if"');
SELECT wf_result('stands', wait => '10 s');
SELECT wf_skip('stands');
SELECT action, reason, detail->>'step' AS step, detail->'result' AS result FROM wf.actions WHERE id = 'stands' ORDER BY at;
SELECT count(*) FROM wf_internal.timers;
SELECT count(*) FROM wf_internal.waits;
SELECT wf_skip('nobody');
SELECT wf_complete_step('stands', NULL);
