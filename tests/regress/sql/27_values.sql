-- Values and streams: what an instance shows to the outside while it runs.
CREATE FUNCTION counts(n int) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..n LOOP
        PERFORM wf_set('progress', to_jsonb(i));
        PERFORM wf_emit('lines', jsonb_build_object('line', i));
        PERFORM wf_emit('other', 'null');
        PERFORM wf_wait_signal('next');
    END LOOP;
    PERFORM wf_emit('lines', '"end"');
    RETURN to_jsonb(n);
END $$;
SELECT wf_start('counts', '{"n": 2}', id => 'c');
-- The first value, whatever it is; then another than the known one.
SELECT wf_wait_value('c', 'progress');
SELECT wf_signal('c', 'next');
SELECT wf_wait_value('c', 'progress', known => '1');
SELECT wf_wait_value('c', 'progress', known => '1.0', wait => '0');
-- Not in time: NULL. Without a wait it only looks.
SELECT wf_wait_value('c', 'progress', known => '2', wait => '20 ms');
SELECT wf_wait_value('c', 'progress', known => '2.00', wait => '0');
SELECT wf_wait_value('c', 'nothing', wait => '20 ms');
SELECT wf_wait_value('c', 'progress', wait => '-1 day');
-- A stream, in order, from a position on.
SELECT value, seq > 0 AS seq, at <= now() AS at FROM wf_read_stream('c', 'lines');
SELECT value FROM wf_read_stream('c', 'lines', after => (SELECT min(seq) FROM wf_read_stream('c', 'lines')));
SELECT count(*), count(value) FROM wf_read_stream('c', 'other');
SELECT count(*) FROM wf_read_stream('c', 'lines', after => 1000, wait => '20 ms');
SELECT max(seq) AS last FROM wf_read_stream('c', 'lines') \gset
SELECT wf_signal('c', 'next');
SELECT value FROM wf_read_stream('c', 'lines', wait => '10 s', after => :last);
SELECT wf_result('c', wait => '10 s');
-- An instance that has ended does not publish any more.
SELECT wf_wait_value('c', 'progress', known => '2', wait => '1 h');
SELECT wf_wait_value('c', 'nothing', wait => '1 h');
SELECT count(*) FROM wf_read_stream('c', 'nothing', wait => '1 h');
-- By plain SQL.
SELECT id, name, value, workflow, run, seq = lag(seq) OVER (ORDER BY seq) AS same FROM wf.streams WHERE id = 'c' AND name = 'lines' ORDER BY seq;
SELECT "values" FROM wf.workflows WHERE id = 'c';
SELECT kind, count(*) FROM wf.steps WHERE id = 'c' GROUP BY kind ORDER BY kind;
-- In a procedure.
CREATE PROCEDURE emits(n int) LANGUAGE plpgsql AS $$
DECLARE result jsonb;
BEGIN
    FOR i IN 1..n LOOP
        PERFORM wf_emit('lines', to_jsonb(i));
        CALL wf_step('work', 'SELECT 1', '{}', result);
    END LOOP;
END $$;
SELECT wf_start('emits', '{"n": 100}', id => 'p');
SELECT wf_result('p', wait => '10 s');
SELECT count(*), min(value::int), max(value::int) FROM wf_read_stream('p', 'lines');
SELECT string_agg(value::text, ',' ORDER BY seq) = string_agg(i::text, ',' ORDER BY i) AS in_order
FROM wf_read_stream('p', 'lines') WITH ORDINALITY AS s(seq, value, at, i);
-- A reader in a step; the select list takes the rows as well.
CREATE FUNCTION reads(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('read', 'SELECT value FROM wf_read_stream(''c'', ''lines'')');
END $$;
SELECT wf_start('reads', id => 'r');
SELECT wf_result('r', wait => '10 s');
SELECT (wf_read_stream('c', 'lines')).value;

-- Refused.
SELECT wf_wait_value('nobody', 'progress');
SELECT wf_wait_value(NULL, 'progress');
SELECT wf_wait_value('c', NULL);
SELECT wf_wait_value('c', 'progress', wait => NULL);
SELECT * FROM wf_read_stream('nobody', 'lines');
SELECT * FROM wf_read_stream('c', 'lines', after => NULL);
SELECT wf_emit('lines', '1');
CREATE FUNCTION tries(input text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    CASE input
        WHEN 'wait' THEN PERFORM wf_wait_value('c', 'nothing');
        WHEN 'read' THEN PERFORM wf_read_stream('c', 'nothing', wait => '1 s');
        WHEN 'step wait' THEN PERFORM wf_step('s', 'SELECT wf_wait_value(''c'', ''progress'')');
        WHEN 'step read' THEN PERFORM wf_step('s', 'SELECT wf_read_stream(''c'', ''nothing'', wait => ''1 s'')');
        WHEN 'step emit' THEN PERFORM wf_step('s', 'SELECT wf_emit(''lines'', ''1'')');
        WHEN 'null name' THEN PERFORM wf_emit(NULL, '1');
        WHEN 'null value' THEN PERFORM wf_emit('lines', NULL);
        WHEN 'empty' THEN PERFORM wf_emit('', '1');
        WHEN 'long' THEN PERFORM wf_emit(repeat('x', 1025), '1');
        WHEN 'large' THEN PERFORM wf_emit('lines', to_jsonb(repeat('x', 17000000)));
    END CASE;
    RETURN '"went through"';
END $$;
SELECT wf_start('tries', jsonb_build_object('input', t), id => 'tries ' || t)
FROM unnest('{wait,read,step wait,step read,step emit,null name,null value,empty,long,large}'::text[]) t;
DO $$ BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM wf.workflows WHERE workflow = 'tries' AND finished_at IS NULL);
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT id, status, sqlstate, w.error, r.error->>'hint' AS hint
FROM wf.workflows w, LATERAL (SELECT wf_get(w.id)->'error' AS error) r WHERE workflow = 'tries' ORDER BY id;
-- Where nothing can be seen of it.
BEGIN;
SELECT wf_start('counts', '{"n": 2}', id => 'own');
SELECT wf_wait_value('own', 'progress', wait => '0');
SELECT wf_wait_value('own', 'progress');
ROLLBACK;
SELECT wf_start('counts', '{"n": 2}', id => 'held');
SELECT wf_wait_value('held', 'progress');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT wf_wait_value('held', 'progress');
SELECT * FROM wf_read_stream('held', 'lines', after => 1000, wait => '1 s');
ROLLBACK;
-- Another run under the same id begins its streams anew.
SELECT wf_start('emits', '{"n": 3}', id => 'p', on_conflict => 'start_new');
SELECT wf_result('p', wait => '10 s');
SELECT count(*) FROM wf_read_stream('p', 'lines');
SELECT run, count(*) FROM wf.streams WHERE id = 'p' GROUP BY run ORDER BY run;
