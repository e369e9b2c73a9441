-- Waiting for people: what a wait asks for, who is told when the answer does not fit, what comes of no answer.
-- Waits for a status.
CREATE FUNCTION until(id text, status text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN wf_status(id) = status;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN wf_status(id);
END $$;
CREATE FUNCTION asks(timeout interval DEFAULT NULL, schema jsonb DEFAULT NULL, otherwise jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    answer jsonb;
BEGIN
    answer := wf_wait_signal('approval', timeout, schema => schema, prompt => 'May order 42 be shipped?', "default" => otherwise);
    RETURN jsonb_build_array(answer);
END $$;
\set form '{"type": "object", "required": ["ok"], "additionalProperties": false, "properties": {"ok": {"type": "boolean"}, "amount": {"type": "number", "maximum": 100}}}'

-- What waits for whom, and how to answer.
SELECT wf_start('asks', jsonb_build_object('schema', :'form'::jsonb, 'timeout', '1 day', 'otherwise', '{"ok": false}'::jsonb), id => 'order''s 42');
SELECT until('order''s 42', 'waiting');
SELECT id, workflow, name, prompt, "default", owner, answer FROM wf.waiting;
SELECT schema = :'form'::jsonb AS schema, due_at = since + interval '1 day' AS due, since <= now() AS since FROM wf.waiting;
-- The sender gets the error, and nothing is kept.
SELECT wf_signal('order''s 42', 'approval', '{"ok": "certainly", "amount": 101}');
\echo :SQLSTATE
SELECT wf_signal('order''s 42', 'approval', '{"amount": 1, "card": "1234"}');
SELECT wf_signal('order''s 42', 'approval');
SELECT wf_signal('order''s 42', 'approval', jsonb_build_object('ok', true, 'amount', '1e999'::numeric));
SELECT count(*) FROM wf.signals;
-- Under another name nothing is asked.
SELECT wf_signal('order''s 42', 'remark', '"hurry"');
BEGIN;
SELECT wf_signal('order''s 42', 'approval', '{"ok": true, "amount": 100}', key => 'form 1');
COMMIT;
SELECT wf_result('order''s 42', wait => '10 s');
SELECT * FROM wf.waiting;

-- Sent again by its key, it is the same signal, whatever is waited for by now.
CREATE FUNCTION asks_twice(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_wait_signal('answer', schema => '{"type": "string"}');
    RETURN wf_wait_signal('answer', schema => '{"type": "integer"}');
END $$;
SELECT wf_start('asks_twice', id => 'twice');
SELECT until('twice', 'waiting');
SELECT wf_signal('twice', 'answer', '"first"', key => 'k');
DO $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN (SELECT schema->>'type' FROM wf.waiting WHERE id = 'twice') = 'integer';
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT wf_signal('twice', 'answer', '"first"', key => 'k');
SELECT wf_signal('twice', 'answer', '"first"');
SELECT wf_signal('twice', 'answer', '2');
SELECT wf_result('twice', wait => '10 s');

-- Sent before anyone waits: what does not fit is set aside when it is taken, and the wait goes on.
BEGIN;
SELECT wf_start('asks', jsonb_build_object('schema', :'form'::jsonb), id => 'early');
SELECT wf_signal('early', 'approval', '"yes"');
SELECT wf_signal('early', 'approval', '{"ok": 1}');
COMMIT;
SELECT until('early', 'waiting');
SELECT wf_signal('early', 'approval', '{"ok": true}');
SELECT wf_result('early', wait => '10 s');
SELECT payload, consumed_at IS NOT NULL AS consumed, consumed_by, refused FROM wf.signals WHERE id = 'early' ORDER BY sent_at;
SELECT n, name, status, result FROM wf.steps WHERE id = 'early';
BEGIN;
SELECT wf_start('asks', jsonb_build_object('schema', :'form'::jsonb), id => 'early, one fits');
SELECT wf_signal('early, one fits', 'approval', '"yes"');
SELECT wf_signal('early, one fits', 'approval', '{"ok": true}');
COMMIT;
SELECT wf_result('early, one fits', wait => '10 s');

-- No answer: the default.
SELECT wf_start('asks', '{"timeout": "50 ms", "otherwise": {"ok": false, "precise": 1.00000000000000000000000000001}}', id => 'default');
SELECT wf_result('default', wait => '10 s');
SELECT name, status, result FROM wf.steps WHERE id = 'default';
SELECT wf_start('asks', '{"timeout": "0", "otherwise": "at once"}', id => 'default at once');
SELECT wf_result('default at once', wait => '10 s');
SELECT wf_start('asks', '{"timeout": "50 ms", "otherwise": null}', id => 'JSON null');
SELECT wf_result('JSON null', wait => '10 s');
-- An answer in time is stronger, be it null.
SELECT wf_start('asks', '{"timeout": "1 day", "otherwise": "default"}', id => 'null');
SELECT until('null', 'waiting');
SELECT wf_signal('null', 'approval', 'null');
SELECT wf_result('null', wait => '10 s');

-- However a wait ends, it is not shown any more: cancelled, at the run's deadline, with an error of the run.
SELECT wf_start('asks', '{"timeout": "1 day", "otherwise": "default"}', id => 'cancelled');
SELECT until('cancelled', 'waiting');
SELECT wf_cancel('cancelled');
SELECT wf_result('cancelled', wait => '10 s');
SELECT name, status, result FROM wf.steps WHERE id = 'cancelled';
SELECT wf_start('asks', id => 'deadline', timeout => '100 ms');
\set VERBOSITY terse
SELECT wf_result('deadline', wait => '10 s');
\set VERBOSITY default
SELECT * FROM wf.waiting;
SELECT count(*) FROM wf_internal.waits;

-- Procedures.
CREATE PROCEDURE asks_in_place(input jsonb, INOUT result jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    answer jsonb;
BEGIN
    CALL wf_wait_signal('approval', '1 day', answer, 'Yes or no?', '{"type": "boolean"}', 'false');
    CALL wf_wait_signal('again', '10 ms', result, "default" => '"nobody"');
    result := jsonb_build_array(answer, result);
END $$;
BEGIN;
SELECT wf_start('asks_in_place', id => 'procedure');
SELECT wf_signal('procedure', 'approval', '"yes"');
COMMIT;
SELECT until('procedure', 'waiting');
SELECT id, name, prompt, schema, "default" FROM wf.waiting;
SELECT wf_signal('procedure', 'approval', '"yes"');
SELECT wf_signal('procedure', 'approval', 'true');
SELECT wf_result('procedure', wait => '10 s');
SELECT payload, refused FROM wf.signals WHERE id = 'procedure' ORDER BY sent_at;

-- A malformed schema is an error of the call.
CREATE FUNCTION malformed(schema jsonb, other int DEFAULT 0) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    RETURN wf_wait_signal('approval', schema => schema);
EXCEPTION WHEN invalid_parameter_value THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN jsonb_build_array(SQLSTATE, SQLERRM, left(detail, 120));
END $$;
SELECT wf_start('malformed', jsonb_build_object('schema', s), id => 'malformed ' || n)
FROM unnest(ARRAY['[]', '{"properties": {"ok": {"type": "bool"}}}', '{"$ref": "http://127.0.0.1/schema"}', '{"$ref": "file:///etc/passwd"}',
                  '{"items": {"$ref": "#"}}', '{"pattern": "(a)\\1"}', jsonb_build_object('title', repeat('x', 70000))]::jsonb[]) WITH ORDINALITY AS t (s, n);
SELECT left(input->>'schema', 50) AS schema, r->>1 AS message, r->>2 AS detail
FROM wf.workflows, wf_result(id, wait => '10 s') AS r WHERE workflow = 'malformed' ORDER BY id;
CREATE FUNCTION unasked(prompt text) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('approval', prompt => prompt); END $$;
SELECT wf_start('unasked', '{"prompt": ""}', id => 'empty');
SELECT wf_result('empty', wait => '10 s');
SELECT wf_start('unasked', jsonb_build_object('prompt', repeat('?', 20000)), id => 'long');
\set VERBOSITY terse
SELECT wf_result('long', wait => '10 s');
\set VERBOSITY default

-- Others see only what is theirs.
CREATE ROLE regress_stranger LOGIN;
SELECT wf_start('asks', id => 'mine');
SELECT until('mine', 'waiting');
SET ROLE regress_stranger;
SELECT id FROM wf.waiting;
SELECT * FROM wf_internal.waits;
RESET ROLE;
SELECT id FROM wf.waiting;
DROP ROLE regress_stranger;
