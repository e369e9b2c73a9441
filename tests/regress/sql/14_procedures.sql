-- Procedures as workflows: CALL wf_step runs a step where it is called, and the procedure goes on.
CREATE TABLE orders (id int PRIMARY KEY, items int, state text DEFAULT 'new');
CREATE TABLE log (n int GENERATED ALWAYS AS IDENTITY, note text);
CREATE FUNCTION note(text text) RETURNS text LANGUAGE sql AS $$ INSERT INTO log (note) VALUES (text) RETURNING note $$;
-- Waits until an instance waits for something.
CREATE FUNCTION until_waiting(instance text, what text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    waits text;
BEGIN
    FOR i IN 1..1000 LOOP
        SELECT waiting_for INTO waits FROM wf.workflows WHERE id = instance;
        EXIT WHEN waits LIKE what || '%';
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN waits;
END $$;

-- The result of a step comes back in a variable; the workflow's own in its INOUT parameter.
CREATE PROCEDURE greet(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    answer jsonb;
BEGIN
    CALL wf_step('ask', 'note', jsonb_build_object('text', 'hello ' || (input->>'name')), answer);
    CALL wf_step('count', 'SELECT count(*) FROM log', '{}', answer);
    CALL wf_step(name => 'named', target => 'SELECT $1->''a''', input => '{"a": 7}', result => result,
                 retry => '{"max_attempts": 3}', timeout => '1 min');
    result := jsonb_build_array(answer, result);
END $$;
SELECT wf_start('greet', '{"name": "ann"}', id => 'greet');
SELECT wf_result('greet', wait => '10 s');
SELECT n, name, occurrence, kind, status, attempt, result FROM wf.steps WHERE id = 'greet' ORDER BY n;
SELECT note FROM log ORDER BY n;
TRUNCATE log;

-- A long chain over the rows of a query: commits fall in the middle of the loop, and the loop goes on.
INSERT INTO orders SELECT i, i % 3 FROM generate_series(1, 300) AS i;
CREATE PROCEDURE pack(o int) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    CALL wf_step('pack', 'UPDATE orders SET state = ''packed'' WHERE id = ($1->>''id'')::int', jsonb_build_object('id', o), r);
END $$;
CREATE PROCEDURE fulfil(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    o record;
    r jsonb;
    n int := 0;
BEGIN
    FOR o IN SELECT id, items FROM orders WHERE state = 'new' ORDER BY id LOOP
        CONTINUE WHEN o.items = 0;
        CALL pack(o.id);
        CALL wf_step('ship', 'UPDATE orders SET state = ''shipped'' WHERE id = ($1->>''id'')::int AND state = ''packed''',
                     jsonb_build_object('id', o.id), r);
        n := n + r::int;
        IF n % 100 = 0 THEN PERFORM wf_set('shipped', to_jsonb(n)); END IF;
    END LOOP;
    result := to_jsonb(n);
END $$;
SELECT wf_start('fulfil', id => 'fulfil');
SELECT wf_result('fulfil', wait => '10 s');
SELECT state, count(*) FROM orders GROUP BY state ORDER BY state;
SELECT wf_get('fulfil', 'shipped');
SELECT kind, name, status, count(*), min(occurrence), max(occurrence), min(n), max(n)
FROM wf.steps WHERE id = 'fulfil' GROUP BY kind, name, status ORDER BY kind, name;

-- A block with an EXCEPTION clause catches a failed step; its rollback takes back what the step did, and no other step.
CREATE FUNCTION charge(amount int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO log (note) VALUES ('never kept');
    RAISE EXCEPTION 'card declined' USING ERRCODE = 'PAY01', DETAIL = format('The limit is below %s.', amount), HINT = 'Use another card.';
END $$;
CREATE PROCEDURE checkout(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    CALL wf_step('open', 'note', '{"text": "opened"}', r);
    BEGIN
        CALL wf_step('reserve', 'note', '{"text": "reserved"}', r);
        CALL wf_step('charge', 'charge', '{"amount": 10}', r);
        result := '"paid"';
    EXCEPTION WHEN SQLSTATE 'PAY01' THEN
        CALL wf_step('release', 'note', '{"text": "released"}', r);
        result := to_jsonb(SQLERRM);
        IF input ? 'raise' THEN RAISE; END IF;
    END;
    CALL wf_step('close', 'note', '{"text": "closed"}', r);
END $$;
SELECT wf_start('checkout', id => 'checkout');
SELECT wf_result('checkout', wait => '10 s');
SELECT note FROM log ORDER BY n;
SELECT n, name, status, attempt, result, sqlstate, error FROM wf.steps WHERE id = 'checkout' ORDER BY n;
TRUNCATE log;
-- Raised again it ends the workflow, with all that the step said.
SELECT wf_start('checkout', '{"raise": true}', id => 'declined');
\set SHOW_CONTEXT never
SELECT wf_result('declined', wait => '10 s');
\set SHOW_CONTEXT errors
\echo :SQLSTATE
SELECT note FROM log ORDER BY n;
TRUNCATE log;

-- Waits in the middle: what comes before is done, and stays done.
CREATE PROCEDURE approval(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
    answer jsonb;
    late jsonb;
BEGIN
    CALL wf_step('ask', 'note', '{"text": "asked"}', r);
    PERFORM wf_sleep('10 ms');
    CALL wf_wait_signal('answer', NULL, answer);
    CALL wf_step('told', 'note', jsonb_build_object('text', 'told ' || (answer #>> '{}')), r);
    CALL wf_wait_signal('more', '10 ms', late);
    late := coalesce(late, wf_wait_signal('as a function', timeout => '10 ms'));
    result := jsonb_build_object('answer', answer, 'late', late, 'told', wf_step('form', 'note', '{"text": "as a function"}'));
END $$;
SELECT wf_start('approval', id => 'approval');
SELECT until_waiting('approval', 'signal');
SELECT note FROM log ORDER BY n;
SELECT wf_signal('approval', 'answer', '"yes"');
SELECT wf_result('approval', wait => '10 s');
SELECT note FROM log ORDER BY n;
SELECT n, kind, name, status, attempt, result FROM wf.steps WHERE id = 'approval' ORDER BY n;
TRUNCATE log;

-- A retry waits, too.
CREATE SEQUENCE tries;
CREATE PROCEDURE stubborn(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    CALL wf_step('before', 'note', '{"text": "before"}', r);
    CALL wf_step('flaky', 'SELECT 1 / (nextval(''tries'') / 3)', '{}', result, retry => '{"max_attempts": 5, "first_delay": "1 ms"}');
END $$;
SELECT wf_start('stubborn', id => 'stubborn');
SELECT wf_result('stubborn', wait => '10 s');
SELECT n, name, status, attempt, result FROM wf.steps WHERE id = 'stubborn' ORDER BY n;
SELECT note FROM log ORDER BY n;
TRUNCATE log;

-- The parameters are those of the procedure. Several results make an object, none makes NULL.
CREATE PROCEDURE parameters(a int, b text DEFAULT 'b', INOUT result jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
    CALL wf_step('s', 'SELECT $1->''a'' AS a, $1->''b'' AS b', jsonb_build_object('a', a, 'b', b), result);
END $$;
CREATE PROCEDURE several(input jsonb, INOUT sum int, INOUT word text) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    CALL wf_step('s', 'SELECT 3 + 4', '{}', r);
    sum := r->0;
    word := input->>'word';
END $$;
CREATE PROCEDURE nothing(text text) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    CALL wf_step('s', 'note', jsonb_build_object('text', text), r);
END $$;
SELECT wf_start('parameters', '{"a": 1}', id => 'parameters');
SELECT wf_result('parameters', wait => '10 s');
SELECT wf_start('several', '{"word": "x"}', id => 'several');
SELECT wf_result('several', wait => '10 s');
SELECT wf_start('nothing', '{"text": "called"}', id => 'nothing');
SELECT wf_result('nothing', wait => '10 s') IS NULL AS nothing;
SELECT note FROM log ORDER BY n;
SELECT wf_start('parameters');
SELECT wf_start('parameters', '{"a": 1, "c": 2}');
TRUNCATE log;

-- What it may not do. A workflow does not end its transaction: that is done for it.
CREATE PROCEDURE commits(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    CALL wf_step('a', 'note', '{"text": "a"}', r);
    COMMIT;
    CALL wf_step('b', 'note', '{"text": "b"}', r);
END $$;
SELECT wf_start('commits', id => 'commits');
SELECT wf_result('commits', wait => '10 s');
\echo :SQLSTATE
CREATE PROCEDURE rolls_back(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    CALL wf_step('a', 'note', '{"text": "a"}', r);
    ROLLBACK;
    INSERT INTO log (note) VALUES ('stray');
    CALL wf_step('b', 'note', '{"text": "b"}', r);
END $$;
SELECT wf_start('rolls_back', id => 'rolls-back');
\set SHOW_CONTEXT never
SELECT wf_result('rolls-back', wait => '10 s');
\set SHOW_CONTEXT errors
\echo :SQLSTATE
-- It writes in its steps only, however many have been.
CREATE PROCEDURE writes(n int, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    FOR i IN 1..n LOOP
        CALL wf_step('a', 'note', '{"text": "kept"}', r);
    END LOOP;
    INSERT INTO log (note) VALUES ('stray');
END $$;
SELECT wf_start('writes', '{"n": 1}', id => 'writes-1');
SELECT wf_result('writes-1', wait => '10 s');
\echo :SQLSTATE
SELECT wf_start('writes', '{"n": 100}', id => 'writes-100');
SELECT wf_result('writes-100', wait => '10 s');
SELECT note, count(*) FROM log GROUP BY note ORDER BY note;
TRUNCATE log;
-- What it SETs is put back at the next commit.
CREATE PROCEDURE sets(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    SET work_mem = '77MB';
    FOR i IN 1..100 LOOP
        CALL wf_step('s', 'SELECT current_setting(''work_mem'')', '{}', r);
    END LOOP;
    result := jsonb_build_array(r->0, current_setting('work_mem'));
END $$;
SELECT wf_start('sets', id => 'sets');
SELECT wf_result('sets', wait => '10 s');
-- An error of its own fails it, where it is.
CREATE PROCEDURE breaks(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    CALL wf_step('a', 'note', '{"text": "kept"}', r);
    result := to_jsonb(1 / (input->>'zero')::int);
END $$;
SELECT wf_start('breaks', '{"zero": 0}', id => 'breaks');
SELECT wf_result('breaks', wait => '10 s');
SELECT note FROM log ORDER BY n;
TRUNCATE log;
-- An error of a step that nobody catches.
CREATE PROCEDURE pays(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    CALL wf_step('charge', 'charge', '{"amount": 10}', r);
END $$;
SELECT wf_start('pays', id => 'pays');
SELECT wf_result('pays', wait => '10 s');
\echo :SQLSTATE

-- CALL wf_step elsewhere, and with arguments that are none.
CALL wf_step('a', 'SELECT 1', '{}', NULL::jsonb);
CALL wf_wait_signal('a', NULL, NULL::jsonb);
CREATE PROCEDURE inside_step(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
BEGIN
    CALL wf_step('a', 'DO ''DECLARE r jsonb; BEGIN CALL wf_step(''''b'''', ''''SELECT 1'''', ''''{}'''', r); END''', '{}', result);
END $$;
SELECT wf_start('inside_step', id => 'inside-step');
\set SHOW_CONTEXT never
SELECT wf_result('inside-step', wait => '10 s');
\set SHOW_CONTEXT errors
CREATE PROCEDURE wrong_call(call text, INOUT result jsonb) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'CALL wf_step(' || call || ')' INTO result;
EXCEPTION WHEN OTHERS THEN
    result := jsonb_build_array(SQLSTATE, SQLERRM);
END $$;
SELECT wf_start('wrong_call', jsonb_build_object('call', call), id => 'wrong ' || n)
FROM unnest(ARRAY['NULL, ''SELECT 1'', ''{}'', NULL::jsonb', ''''', ''SELECT 1'', ''{}'', NULL::jsonb', '''a'', NULL, ''{}'', NULL::jsonb',
                  '''a'', '' '', ''{}'', NULL::jsonb', '''a'', ''SELECT 1'', NULL, NULL::jsonb',
                  '''a'', ''SELECT 1'', ''{}'', NULL::jsonb, timeout => ''0''', '''a'', ''SELECT 1'', ''{}'', NULL::jsonb, retry => ''{"tries": 1}''',
                  '''a'', ''SELECT 1'', ''{}'', NULL::jsonb, retry => NULL, timeout => NULL'])
     WITH ORDINALITY AS c (call, n);
SELECT input->>'call' AS call, wf_result(id, wait => '10 s') FROM wf.workflows WHERE workflow = 'wrong_call' ORDER BY id;

-- Cancelled, it may clean up.
CREATE PROCEDURE cleans(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    CALL wf_step('book', 'note', '{"text": "booked"}', r);
    BEGIN
        PERFORM wf_wait_signal('go');
    EXCEPTION WHEN SQLSTATE 'WF002' THEN
        CALL wf_step('unbook', 'note', '{"text": "unbooked"}', r);
        RAISE;
    END;
END $$;
SELECT wf_start('cleans', id => 'cleans');
SELECT until_waiting('cleans', 'signal');
SELECT wf_cancel('cleans', 'not wanted');
SELECT wf_result('cleans', wait => '10 s');
SELECT note FROM log ORDER BY n;
SELECT n, name, status, sqlstate FROM wf.steps WHERE id = 'cleans' ORDER BY n;
TRUNCATE log;

-- It ends on the code that it began with.
SELECT wf_start('approval', id => 'old');
SELECT until_waiting('old', 'signal');
DROP PROCEDURE approval;
SELECT wf_start('approval', id => 'too-late');
SELECT wf_signal('old', 'answer', '"late"');
SELECT wf_result('old', wait => '10 s');
-- Another path than the one on record is refused.
CREATE TABLE flag (on_left bool);
INSERT INTO flag VALUES (true);
CREATE PROCEDURE wavers(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    IF (SELECT on_left FROM flag) THEN
        CALL wf_step('left', 'SELECT 1', '{}', r);
    ELSE
        CALL wf_step('right', 'SELECT 1', '{}', r);
    END IF;
    PERFORM wf_wait_signal('go');
END $$;
SELECT wf_start('wavers', id => 'wavers');
SELECT until_waiting('wavers', 'signal');
UPDATE flag SET on_left = false;
SELECT wf_signal('wavers', 'go');
SELECT wf_result('wavers', wait => '10 s');
\echo :SQLSTATE
TRUNCATE log;

-- Driven by hand, in the caller's transaction: there no step commits.
BEGIN;
SELECT wf_start('greet', '{"name": "bob"}', id => 'by-hand');
SELECT wf_start('checkout', id => 'checkout-by-hand');
CALL wf_run_pending();
SELECT wf_result('by-hand'), wf_result('checkout-by-hand');
SELECT note FROM log ORDER BY n;
ROLLBACK;
SELECT count(*) FROM log;
