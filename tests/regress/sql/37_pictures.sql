-- Pictures: the timeline of an instance as rows and as lines, graphs. Times are left out here.
CREATE FUNCTION charge() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no connection'; END $$;
CREATE FUNCTION pack(input jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('box', 'SELECT 1');
    RETURN 'packed';
END $$;
CREATE FUNCTION order_flow(input jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_set('stage', '"begun"');
    PERFORM wf_step('take', 'SELECT 1');
    PERFORM wf_compensate('take', 'SELECT 1');
    BEGIN
        PERFORM wf_step('charge', 'charge', retry => '{"max_attempts": 3, "first_delay": "10ms"}');
    EXCEPTION WHEN OTHERS THEN
        PERFORM wf_step('invoice', 'SELECT 1');
    END;
    PERFORM wf_wait_signal('approval');
    PERFORM wf_map('pages', 'SELECT $1', '[1, 2]');
    PERFORM wf_call('pack', 'pack');
    PERFORM wf_task('mail', 'letters');
    FOR i IN 1..6 LOOP
        PERFORM wf_step('count', 'SELECT 1');
    END LOOP;
    PERFORM wf_sleep('10 ms');
    PERFORM wf_step('ship', 'SELECT 1/0');
    RETURN 'shipped';
END $$;
-- Waits until a query gives true.
CREATE PROCEDURE until(query text) LANGUAGE plpgsql AS $$
DECLARE
    reached boolean;
BEGIN
    FOR i IN 1..1000 LOOP
        EXECUTE query INTO reached;
        IF reached THEN RETURN; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RAISE 'not reached: %', query;
END $$;
CREATE FUNCTION untimed(picture text) RETURNS text LANGUAGE sql AS $$
    SELECT regexp_replace(picture, '\d+(\.\d)? (µs|ms|s|min)\M( \d+ s)?', 'TIME', 'g')
$$;

-- Not run yet: by its source, in both languages.
SELECT wf_graph('order_flow');
SELECT wf_graph('pack', format => 'dot');

SELECT wf_start('order_flow', id => 'order-42');
CALL until($$ SELECT wf_status('order-42') = 'waiting' AND count(*) = 6 FROM wf.steps WHERE id = 'order-42' $$);
SELECT wf_pause('order-42', reason => 'stock-taking');
SELECT kind, name, status, finished_at IS NULL AS open, detail->>'reason' AS reason
FROM wf.timeline WHERE id = 'order-42' AND kind IN ('run', 'signal', 'pause') ORDER BY nr;
SELECT substring(line, '^order-42 \| order_flow \| .* \| paused, ') IS NOT NULL AS paused FROM wf_timeline('order-42') AS line LIMIT 1;
SELECT wf_resume('order-42');
SELECT wf_signal('order-42', 'approval', 'true');
CALL until($$ SELECT EXISTS (SELECT FROM wf.tasks WHERE status = 'waiting') $$);
SELECT name, kind, status FROM wf.timeline WHERE id = 'order-42' AND finished_at IS NULL ORDER BY nr;
SELECT wf_complete(task, '1') IS NOT NULL AS completed FROM wf_poll('letters', worker => 'w1');
SELECT wf_result('order-42', wait => '10 s');

-- A row an event or span, each a part of another one.
SELECT t.kind, t.name, t.status, t.attempts, p.kind AS part_of, t.started_at <= t.finished_at AS ended,
       t.detail - '{registered_at,waiting_for,detail,by}'::text[] AS detail
FROM wf.timeline t LEFT JOIN wf.timeline p ON p.run_id = t.run_id AND p.nr = t.parent
WHERE t.id = 'order-42' AND (t.kind, t.name) <> ('step', 'count')
ORDER BY t.kind COLLATE "C", t.detail->>'item', t.name COLLATE "C", t.nr;
SELECT array_agg(nr ORDER BY started_at, nr) = array_agg(nr ORDER BY nr) AS in_order, min(nr), max(nr) = count(*) AS numbered
FROM wf.timeline WHERE id = 'order-42';

-- The lines. What differs from run to run are times, and where bars begin and end.
SELECT untimed(rtrim(regexp_replace(line, ' *[█▓▒░─═┄•╱][█▓▒░─═┄•╱ ]*', ' BAR ')))
FROM wf_timeline('order-42') WITH ORDINALITY AS t(line, i) WHERE line !~ '^ *\|0| queued ' AND i > 1 ORDER BY i;
SELECT substring(line, ' failed after .*') ~ 'division by zero' AS title FROM wf_timeline('order-42', 200) AS line LIMIT 1;
SELECT max(length(line)) <= 60 AS fits, count(*) > 20 AS whole FROM wf_timeline('order-42', width => 60) AS line;
SELECT count(*) AS of_children FROM wf_timeline('order-42', depth => 0) AS line WHERE line LIKE '%box%';
SELECT wf_timeline_svg('order-42') LIKE '<svg %</svg>' AS is_svg, wf_timeline_svg('order-42') !~ '<script|href|url\(' AS self_contained;

-- The graph of an instance, and of its workflow, by what has happened.
SELECT untimed(wf_graph('order-42', depth => 0));
SELECT wf_graph('order_flow');
SELECT wf_start('pack', id => 'pack-2');
SELECT wf_result('pack-2', wait => '10 s');
SELECT wf_graph('pack', format => 'dot');

-- An id with several runs.
SELECT wf_start('pack', id => 'pack-2', on_conflict => 'start_new');
SELECT wf_result('pack-2', wait => '10 s');
SELECT substring(line, '^[^|]*\|[^|]*') AS title FROM wf_timeline('pack-2') AS line LIMIT 1;
SELECT substring(line, '^[^|]*\|[^|]*') AS title FROM wf_timeline('pack-2', run => 1) AS line LIMIT 1;

-- Wrong use.
SELECT wf_timeline('nobody');
SELECT wf_timeline('pack-2', run => 3);
SELECT wf_timeline('pack-2', width => 39);
SELECT wf_timeline('pack-2', depth => -1);
SELECT wf_timeline(NULL);
SELECT wf_timeline_svg('nobody');
SELECT wf_graph('nobody');
SELECT wf_graph('pack-2', format => 'png');
SELECT wf_graph('pack', depth => 51);
