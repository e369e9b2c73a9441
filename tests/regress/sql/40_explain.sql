-- Why does it not move? Each reason, as far as it needs neither a second session nor another server.
\set SHOW_CONTEXT never
CREATE FUNCTION soon(condition text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE found boolean;
BEGIN
    FOR i IN 1..1000 LOOP
        EXECUTE 'SELECT ' || condition INTO found;
        IF found THEN RETURN; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RAISE 'not within 10 s: %', condition;
END $$;
-- Times and process ids differ from run to run.
CREATE FUNCTION same(words text) RETURNS text LANGUAGE sql AS $$
    SELECT regexp_replace(regexp_replace(words, '\m\d+(\.\d+)? (s|min|h|days)\M', '<time>', 'g'), 'pid \d+', 'pid <n>', 'g')
$$;
CREATE FUNCTION why(id text) RETURNS TABLE (reason text, explanation text) LANGUAGE sql AS $$
    SELECT reason, CASE WHEN instance <> $1 THEN '[' || instance || '] ' ELSE '' END || same(explanation) FROM wf_explain($1)
$$;
CREATE FUNCTION explained(id text, reason text) RETURNS boolean LANGUAGE sql AS $$
    SELECT EXISTS (SELECT FROM wf_explain($1) e WHERE e.reason = $2)
$$;
-- No process is at it, nor about to be.
CREATE FUNCTION settled(VARIADIC ids text[]) RETURNS boolean LANGUAGE sql AS $$
    SELECT NOT EXISTS (SELECT FROM unnest(ids) AS i(id), LATERAL wf_explain(i.id) e
                       WHERE e.reason IN ('running', 'blocked', 'claimed', 'locked', 'ready', 'no_executor', 'executors_busy', 'unknown'))
$$;

-- Whom it answers.
SELECT * FROM wf_explain('nobody');
SELECT * FROM wf_explain(NULL);

-- What has ended.
CREATE FUNCTION ends(how text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF how = 'in code' THEN RAISE EXCEPTION 'code % is wrong', 7; END IF;
    IF how = 'undone' THEN PERFORM wf_compensate('undo', 'SELECT 1'); END IF;
    PERFORM wf_step('divide', 'SELECT 1 / ($1::text::int)', CASE WHEN how = 'well' THEN '1' ELSE '0' END::jsonb);
    RETURN how;
END $$;
SELECT count(wf_start('ends', jsonb_build_object('how', how), id => how)) FROM unnest('{well,badly,in code,undone}'::text[]) AS how;
SELECT soon($$ NOT EXISTS (SELECT FROM wf.workflows WHERE finished_at IS NULL) $$);
SELECT why.* FROM why('well');
SELECT same(explanation) AS explanation, hint, step, since IS NOT NULL AS since, detail->>'message' AS message FROM wf_explain('badly');
SELECT same(explanation) AS explanation, hint FROM wf_explain('in code');
SELECT same(explanation) AS explanation, hint FROM wf_explain('undone');

-- Times and signals.
CREATE FUNCTION waits(name text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF name = 'sleep' THEN PERFORM wf_sleep('1 day 1 min'); END IF;
    RETURN wf_wait_signal(name, timeout => CASE WHEN name = 'timed' THEN interval '3 days 1 min' END, prompt => CASE WHEN name = 'asked' THEN 'Is it good?' END);
END $$;
SELECT count(wf_start('waits', jsonb_build_object('name', name), id => name)) FROM unnest('{sleep,plain,timed,asked}'::text[]) AS name;
SELECT wf_start('waits', '{"name": "later"}', id => 'later', start_at => now() + interval '1 day 1 min');
SELECT soon($$ (SELECT count(*) FROM wf.workflows WHERE status = 'waiting') = 4 $$);
SELECT soon($$ settled('sleep', 'plain', 'timed', 'asked') $$);
SELECT why.* FROM why('sleep');
SELECT why.* FROM why('plain');
SELECT same(explanation) AS explanation, until - now() > '3 days' AS until FROM wf_explain('timed');
SELECT same(explanation) AS explanation, hint, step, detail FROM wf_explain('asked');
SELECT wf_signal('plain', 'plane');
SELECT soon($$ settled('plain') $$);
SELECT why.* FROM why('plain');
SELECT explanation, until - now() > '1 day' AS until FROM wf_explain('later');

-- Paused: itself, its workflow, everything.
SELECT wf_pause('plain', reason => 'stock-taking'), wf_pause(workflow => 'waits'), wf_pause();
SELECT reason, same(explanation) AS explanation, hint FROM wf_explain('plain');
SELECT wf_resume('plain'), wf_resume(workflow => 'waits'), wf_resume();
-- A cancel that nobody has taken yet.
BEGIN;
SELECT wf_cancel('plain', 'no more');
SELECT reason, same(explanation) AS explanation FROM wf_explain('plain') WHERE reason = 'cancelling';
COMMIT;
SELECT soon($$ wf_status('plain') = 'cancelled' $$);
SELECT same(explanation) AS explanation, hint FROM wf_explain('plain');

-- Retries: of a step, of one beside, of an item; what undoes.
CREATE FUNCTION fails(how text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE h integer[];
BEGIN
    IF how = 'step' THEN
        PERFORM wf_step('s', $s$ SELECT wf_no_such() $s$, retry => '{"max_attempts": 5, "first_delay": "1 hour"}');
    ELSIF how = 'beside' THEN
        h := ARRAY[wf_begin('b', 'SELECT 1 / 0', retry => '{"max_attempts": 0, "first_delay": "1 hour"}'), wf_begin('w', 'SELECT 1')];
        PERFORM wf_await(h, timeout => '2 days 1 min');
    ELSIF how = 'items' THEN
        RETURN wf_map('m', 'SELECT 1 / ($1::int)', '[1, 0, 1, 0, 1]', max_parallel => 2, retry => '{"max_attempts": 2, "first_delay": "1 hour"}');
    ELSIF how = 'undo' THEN
        PERFORM wf_compensate('u', 'SELECT 1 / 0', retry => '{"max_attempts": 2, "first_delay": "1 hour"}');
        RAISE EXCEPTION 'all is lost' USING ERRCODE = 'P0042';
    ELSE
        h := ARRAY[wf_begin('lingers', 'SELECT 1 / 0', retry => '{"first_delay": "1 hour"}')];
    END IF;
    RETURN NULL;
END $$;
SELECT count(wf_start('fails', jsonb_build_object('how', how), id => how)) FROM unnest('{step,beside,items,undo,lingering}'::text[]) AS how;
SELECT soon($$ (SELECT bool_and(explained(how, 'retry')) FROM unnest('{step,beside,items,undo,lingering}'::text[]) AS how) $$);
SELECT soon($$ (SELECT count(*) FROM wf_explain('items') WHERE reason = 'retry') = 2 AND explained('beside', 'await') $$);
SELECT soon($$ settled('step', 'beside', 'items', 'undo', 'lingering') $$);
SELECT reason, same(explanation) AS explanation, hint, step, until > now() AS until, detail->>'sqlstate' AS sqlstate FROM wf_explain('step');
SELECT why.* FROM why('beside');
SELECT why.* FROM why('items');
SELECT detail FROM wf_explain('items') WHERE reason = 'map';
SELECT why.* FROM why('undo');
SELECT why.* FROM why('lingering');

-- Children, to the last of them; of a map.
CREATE FUNCTION parent(depth integer) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF depth = 0 THEN RETURN wf_wait_signal('go'); END IF;
    RETURN wf_call('c', 'parent', jsonb_build_object('depth', depth - 1), id => 'child-' || depth - 1);
END $$;
CREATE FUNCTION parents(n integer) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_map('each', items => '[{"name": "a"}, {"name": "b"}]', workflow => 'waits');
END $$;
SELECT wf_start('parent', '{"depth": 2}', id => 'family');
SELECT soon($$ EXISTS (SELECT FROM wf.workflows WHERE id = 'child-0' AND status = 'waiting') $$);
SELECT soon($$ settled('family') $$);
SELECT why.* FROM why('family');
SELECT reason, instance, step FROM wf_explain('family');
SELECT wf_start('parents', '{"n": 1}', id => 'parents');
SELECT soon($$ (SELECT count(*) FROM wf_explain('parents') WHERE reason = 'signal') = 2 AND settled('parents') $$);
SELECT reason, regexp_replace(same(explanation), '"parents[^"]*"', '"<child>"') AS explanation FROM wf_explain('parents');

-- Queues: of instances, steps and tasks.
CREATE FUNCTION queues(queue text) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('in line', 'SELECT 1', queue => queue); END $$;
SELECT wf_queue('q', max_running => 1, max_running_per_key => 1);
SELECT wf_start('waits', '{"name": "held"}', id => 'holder', queue => 'q', key => 'k');
SELECT soon($$ wf_status('holder') = 'waiting' $$);
SELECT wf_start('waits', '{"name": "x"}', id => 'next', queue => 'q', key => 'k'), wf_start('queues', '{"queue": "q"}', id => 'step in q');
SELECT soon($$ explained('step in q', 'queue_full') AND settled('step in q', 'next', 'holder') $$);
SELECT reason, same(explanation) AS explanation, hint, step, detail FROM wf_explain('next');
SELECT why.* FROM why('step in q');
SELECT wf_queue('q', max_running => 3);
SELECT soon($$ wf_status('step in q') = 'completed' AND explained('next', 'queue_key_full') $$);
SELECT reason, same(explanation) AS explanation, hint FROM wf_explain('next');
SELECT wf_queue('q', paused => true);
SELECT reason, same(explanation) AS explanation, hint FROM wf_explain('next');
SELECT wf_queue('slow', rate => 1, per => '1 day');
SELECT wf_start('queues', '{"queue": "slow"}', id => 'first'), wf_start('queues', '{"queue": "slow"}', id => 'second');
SELECT soon($$ 'completed' IN (wf_status('first'), wf_status('second')) $$);
SELECT CASE WHEN wf_status('first') = 'completed' THEN 'second' ELSE 'first' END AS slow \gset
SELECT soon(format('explained(%L, %L) AND settled(%L)', :'slow', 'queue_rate', :'slow'));
SELECT reason, same(explanation) AS explanation, hint, until - now() > '23 h' AS until FROM wf_explain(:'slow');

CREATE FUNCTION tasks(key text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_task('render', 'renderers', dedup => key, heartbeat => '1 day', retry => '{"max_attempts": 2, "first_delay": "1 hour"}');
END $$;
SELECT wf_start('tasks', '{"key": "a"}', id => 't1');
SELECT soon($$ (SELECT waiting FROM wf.queues WHERE name = 'renderers') = 1 $$);
SELECT wf_start('tasks', '{"key": "a"}', id => 't2');
SELECT soon($$ explained('t2', 'task_joined') AND settled('t1', 't2') $$);
SELECT reason, same(explanation) AS explanation, hint FROM wf_explain('t1');
SELECT why.* FROM why('t2');
SELECT task FROM wf_poll('renderers', 'w7', lease => '1 hour') \gset
SELECT wf_heartbeat(:'task', '{"done": 0.5}');
SELECT reason, same(explanation) AS explanation, step, until > now() AS until, detail->>'worker' AS worker, detail->'heartbeat' AS heartbeat FROM wf_explain('t1');
UPDATE wf_internal.tasks SET lease_until = now() - interval '1 min' WHERE lease_until IS NOT NULL;
SELECT why.* FROM why('t1');
SELECT wf_fail(:'task', 'out of ink', delay => '1 hour');
SELECT why.* FROM why('t1');

-- A timer that nobody has looked at.
UPDATE wf_internal.steps SET due_at = now() - interval '1 min' WHERE kind = 'sleep';
SELECT reason, same(explanation) AS explanation, hint FROM wf_explain('sleep');

-- Not for strangers; a member of the owner's role may ask.
CREATE ROLE why_owner LOGIN;
CREATE ROLE why_member LOGIN IN ROLE why_owner;
CREATE ROLE why_stranger LOGIN;
GRANT CREATE ON SCHEMA public TO why_owner;
SET ROLE why_owner;
CREATE FUNCTION theirs() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('go'); END $$;
SELECT wf_start('theirs', id => 'theirs');
RESET ROLE;
SELECT soon($$ wf_status('theirs') = 'waiting' AND settled('theirs') $$);
SET ROLE why_member;
SELECT same(explanation) AS explanation, hint FROM wf_explain('theirs');
SET ROLE why_stranger;
SELECT * FROM wf_explain('theirs');
SELECT count(*) FROM wf.failures;
SELECT wf_internal.reasons(NULL, 0);
RESET ROLE;
-- Who may see all instances may ask, too.
SELECT wf_grant('why_stranger', 'view');
SET ROLE why_stranger;
SELECT same(explanation) AS explanation FROM wf_explain('theirs');
SELECT count(*) > 0 AS failures FROM wf.failures;
RESET ROLE;

-- How long it has waited and run, and how far it is.
SELECT id, queue_delay >= '0' AS queue_delay, run_time >= '0' AS run_time, progress FROM wf.workflows
WHERE id IN ('well', 'badly', 'sleep', 'later', 'items', 'family', 'next') ORDER BY id COLLATE "C";
SELECT run_time = finished_at - started_at AS run_time, queue_delay = started_at - created_at AS queue_delay FROM wf.workflows WHERE id = 'well';
CREATE FUNCTION tells() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_set('progress', '"half way"');
    RETURN wf_wait_signal('go');
END $$;
SELECT wf_start('tells', id => 'tells');
SELECT soon($$ wf_status('tells') = 'waiting' $$);
SELECT progress FROM wf.workflows WHERE id = 'tells';

-- What has failed, by kind.
CREATE FUNCTION breaks(n integer) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('check', format('SELECT wf_fail_with(%s)', n));
    RETURN NULL;
END $$;
CREATE FUNCTION wf_fail_with(n integer) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'order % of "Ann S." is closed', n; END $$;
SELECT count(wf_start('breaks', jsonb_build_object('n', n), id => 'breaks-' || n)) FROM generate_series(1, 6) AS n;
SELECT soon($$ (SELECT count(*) FROM wf.workflows WHERE workflow = 'breaks' AND status = 'failed') = 6 $$);
SELECT workflow, step, sqlstate, message, count, first_seen <= last_seen AS seen, cardinality(examples) AS examples,
       regexp_replace(last_error, '\d', 'N') AS last_error FROM wf.failures ORDER BY workflow, step, message;
SELECT count(*) FROM wf.failures f, unnest(f.examples) AS e(id) JOIN wf.workflows w USING (id) WHERE w.status <> 'failed';
SELECT wf_retry('badly');
SELECT soon($$ wf_status('badly') = 'failed' $$);
SELECT workflow, step, count FROM wf.failures WHERE workflow = 'ends' AND step IS NOT NULL;
SELECT wf_internal.message_shape('order 42 of ''Ann''') AS shape, wf_internal.message_shape(NULL) AS no_shape;
DROP OWNED BY why_owner, why_member, why_stranger;
DROP ROLE why_owner, why_member, why_stranger;
