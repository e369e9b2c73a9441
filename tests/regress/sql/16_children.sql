-- Children: started by a workflow, waited for, and what becomes of them when it ends.
-- Whether an error's context names the expression depends on how steps share transactions.
\set SHOW_CONTEXT never
CREATE FUNCTION child(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('work', $sql$ SELECT ($1->>'x')::int + 1 $sql$, input);
END $$;
CREATE FUNCTION parent(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE results jsonb[];
BEGIN
    FOR i IN 1..2 LOOP
        results[i] := wf_call('child', 'child', jsonb_build_object('x', i));
    END LOOP;
    RETURN to_jsonb(results);
END $$;
SELECT wf_start('parent', id => 'p');
SELECT wf_result('p', wait => '10 s');
SELECT id, parent, workflow, status, result FROM wf.workflows ORDER BY id;

-- Errors pass.
CREATE FUNCTION failing(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RAISE 'no luck with %', input USING ERRCODE = 'P0042', DETAIL = 'A detail.';
END $$;
CREATE FUNCTION catching(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_call('it', 'failing', '1');
EXCEPTION WHEN SQLSTATE 'P0042' THEN
    RETURN to_jsonb('caught: ' || SQLERRM);
END $$;
SELECT wf_start('catching', id => 'c');
SELECT wf_result('c', wait => '10 s');
CREATE FUNCTION not_catching(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_call('it', 'failing', '1'); END $$;
SELECT wf_start('not_catching', id => 'n');
SELECT wf_result('n', wait => '10 s');

-- What cannot be started is the workflow's error.
CREATE FUNCTION unknown(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_call('it', 'nowhere'); END $$;
SELECT wf_start('unknown', id => 'u');
SELECT wf_result('u', wait => '10 s');

-- Side by side, and as the items of a map.
CREATE FUNCTION several(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE a int := wf_begin('a', workflow => 'child', input => '{"x": 10}'); b int := wf_begin('b', workflow => 'child', input => '{"x": 20}');
BEGIN
    RETURN jsonb_build_array(wf_await(a), wf_await(b), wf_map('each', workflow => 'child', items => '[{"x": 1}, {"x": 2}, {"x": 3}]', max_parallel => 2));
END $$;
SELECT wf_start('several', id => 's');
SELECT wf_result('s', wait => '10 s');
SELECT id, status FROM wf.workflows WHERE parent = 's' ORDER BY id;
CREATE FUNCTION some_fail(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_map('each', workflow => 'maybe', items => '[{"x": 1}, {"y": 2}]', tolerate => 1);
END $$;
CREATE FUNCTION maybe(x int) RETURNS int LANGUAGE sql AS 'SELECT x';
SELECT wf_start('some_fail', id => 'sf');
SELECT jsonb_pretty(wf_result('sf', wait => '10 s'));

-- The parent is cancelled: a child goes with it, unless it is to be left alone.
CREATE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('go'); END $$;
CREATE FUNCTION leaves(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_begin('abandoned', workflow => 'waits', on_parent_end => 'abandon');
    PERFORM wf_begin('cancelled', workflow => 'waits', on_parent_end => 'cancel');
    PERFORM wf_begin('awaited', workflow => 'waits');
    PERFORM wf_set('begun', 'true');
    PERFORM wf_wait_signal('end');
    RETURN '"end"';
END $$;
SELECT wf_start('leaves', id => 'l');
DO $$ BEGIN FOR i IN 1..1000 LOOP EXIT WHEN wf_get('l', 'begun') IS NOT NULL; PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT wf_cancel('l', 'enough');
SELECT wf_result('l', wait => '10 s');
SELECT wf_result('l/cancelled', wait => '10 s');
SELECT wf_result('l/awaited', wait => '10 s');
SELECT wf_signal('l/abandoned', 'go', '"alone"');
SELECT wf_result('l/abandoned', wait => '10 s');
-- It ends: it waits for one, cancels another, and leaves the third.
SELECT wf_start('leaves', id => 'm');
SELECT wf_signal('m', 'end');
DO $$ BEGIN FOR i IN 1..1000 LOOP EXIT WHEN (SELECT waiting_for LIKE '%awaited%' FROM wf.workflows WHERE id = 'm'); PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT id, status, waiting_for FROM wf.workflows WHERE id = 'm';
SELECT wf_signal('m/awaited', 'go');
SELECT wf_result('m', wait => '10 s');
SELECT wf_result('m/cancelled', wait => '10 s');
SELECT wf_status('m/abandoned');
SELECT wf_cancel('m/abandoned');

-- No end of it.
CREATE FUNCTION endless(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_call('e', 'endless'); END $$;
SELECT wf_start('endless', id => 'e');
SELECT wf_result('e', wait => '30 s');
SELECT count(*) FROM wf.workflows WHERE workflow = 'endless';

-- Wrong use.
CREATE FUNCTION wrong(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_call('x', 'child', on_parent_end => 'kill'); END $$;
SELECT wf_start('wrong', id => 'w');
SELECT wf_result('w', wait => '10 s');
CREATE FUNCTION taken(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_call('x', 'waits', id => 'blocker'); END $$;
SELECT wf_start('waits', id => 'blocker');
SELECT wf_start('taken', id => 't');
SELECT wf_result('t', wait => '10 s');
SELECT wf_call('x', 'child');
