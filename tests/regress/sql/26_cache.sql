-- Results that steps share by a key.
CREATE SEQUENCE runs;
CREATE FUNCTION compute(x int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    PERFORM nextval('runs');
    IF x < 0 THEN
        RAISE EXCEPTION 'negative' USING ERRCODE = 'P0042';
    END IF;
    RETURN x * x;
END $$;
CREATE FUNCTION cached(x int, key text, ttl interval DEFAULT NULL, retry jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('compute', 'compute', jsonb_build_object('x', x), retry => retry, cache_key => key, cache_ttl => ttl);
EXCEPTION WHEN OTHERS THEN
    RETURN jsonb_build_array(SQLSTATE, SQLERRM);
END $$;
SELECT wf_start('cached', '{"x": 3, "key": "a"}', id => 'first');
SELECT wf_result('first', wait => '10 s');
SELECT wf_start('cached', '{"x": 4, "key": "a"}', id => 'second');
SELECT wf_result('second', wait => '10 s');
SELECT wf_start('cached', '{"x": 4, "key": "b"}', id => 'other key');
SELECT wf_result('other key', wait => '10 s');
SELECT last_value FROM runs;
SELECT id, name, status, attempt, result, request->'cached'->>'key' AS cached, (request->'cached'->>'stored_at')::timestamptz < started_at AS before
FROM wf.steps WHERE workflow = 'cached' ORDER BY started_at;
-- Forgotten.
SELECT wf_cache_forget('a');
SELECT wf_cache_forget('a');
SELECT wf_start('cached', '{"x": 5, "key": "a"}', id => 'anew');
SELECT wf_result('anew', wait => '10 s');
BEGIN;
SELECT wf_cache_forget(NULL);
ROLLBACK;
SELECT wf_start('cached', '{"x": 6, "key": "a"}', id => 'still there');
SELECT wf_result('still there', wait => '10 s');
SELECT wf_cache_forget(NULL);
SELECT wf_cache_forget('');
-- For a time.
SELECT wf_start('cached', '{"x": 7, "key": "short", "ttl": "1 ms"}', id => 'short');
SELECT wf_result('short', wait => '10 s');
SELECT pg_sleep(0.01);
SELECT wf_start('cached', '{"x": 8, "key": "short", "ttl": "1 hour"}', id => 'expired');
SELECT wf_result('expired', wait => '10 s');
SELECT wf_start('cached', '{"x": 9, "key": "short"}', id => 'stored again');
SELECT wf_result('stored again', wait => '10 s');
SELECT key, expires_at - stored_at AS ttl, result FROM wf_internal.cache;
-- Expired ones go with the next that is stored.
INSERT INTO wf_internal.cache (stored_at, expires_at, owner, key) SELECT now(), now(), current_user::regrole, 'old ' || i FROM generate_series(1, 15) i;
SELECT wf_start('cached', '{"x": 1, "key": "new"}', id => 'sweeps');
SELECT wf_result('sweeps', wait => '10 s');
SELECT count(*) FROM wf_internal.cache WHERE key LIKE 'old %';
SELECT wf_cache_forget(NULL);
-- Failures are not kept; a retry may find what another has stored meanwhile.
SELECT wf_start('cached', '{"x": -1, "key": "fails"}', id => 'fails');
SELECT wf_result('fails', wait => '10 s');
SELECT count(*) FROM wf_internal.cache;
SELECT wf_start('cached', '{"x": -1, "key": "helped", "retry": {"first_delay": "1 s", "jitter": 0}}', id => 'helped');
SELECT wf_start('cached', '{"x": 11, "key": "helped"}', id => 'helps');
SELECT wf_result('helps', wait => '10 s');
SELECT wf_result('helped', wait => '10 s');
SELECT id, status, result, request IS NOT NULL AS cached FROM wf.steps WHERE id = 'helped';
-- SQL's NULL is a result, and so is JSON's null.
CREATE FUNCTION returns_null() RETURNS jsonb LANGUAGE sql AS $$ SELECT NULL::jsonb FROM nextval('runs') $$;
CREATE FUNCTION returns_json_null() RETURNS jsonb LANGUAGE sql AS $$ SELECT 'null'::jsonb FROM nextval('runs') $$;
CREATE FUNCTION nothing(target text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN coalesce(wf_step('nothing', target, cache_key => target)::text, 'NULL');
END $$;
SELECT setval('runs', 1, false);
SELECT wf_start('nothing', '{"target": "returns_null"}', id => 'null 1');
SELECT wf_result('null 1', wait => '10 s');
SELECT wf_start('nothing', '{"target": "returns_null"}', id => 'null 2');
SELECT wf_result('null 2', wait => '10 s');
SELECT wf_start('nothing', '{"target": "returns_json_null"}', id => 'null 3');
SELECT wf_result('null 3', wait => '10 s');
SELECT wf_start('nothing', '{"target": "returns_json_null"}', id => 'null 4');
SELECT wf_result('null 4', wait => '10 s');
SELECT last_value FROM runs;
-- Within one run, and in a procedure, whose steps run where they are called.
CREATE PROCEDURE squares(xs int[], INOUT result jsonb DEFAULT '[]') LANGUAGE plpgsql AS $$
DECLARE
    x int;
    one jsonb;
BEGIN
    FOREACH x IN ARRAY xs LOOP
        CALL wf_step('compute', 'compute', jsonb_build_object('x', x), one, cache_key => 'square of ' || x, cache_ttl => '1 hour');
        result := result || one;
    END LOOP;
END $$;
SELECT setval('runs', 1, false);
SELECT wf_start('squares', '{"xs": [2, 3, 2, 2, 3]}', id => 'squares');
SELECT wf_result('squares', wait => '10 s');
SELECT last_value FROM runs;
SELECT occurrence, attempt, result, request->'cached'->>'key' AS cached FROM wf.steps WHERE id = 'squares' ORDER BY n;
-- Never another role's.
CREATE ROLE regress_cache LOGIN;
GRANT USAGE ON SEQUENCE runs TO regress_cache;
SET ROLE regress_cache;
SELECT wf_start('cached', '{"x": 20, "key": "square of 2"}', id => 'own');
SELECT wf_result('own', wait => '10 s');
SELECT wf_cache_forget(NULL);
SELECT * FROM wf_internal.cache;
RESET ROLE;
SELECT key, result FROM wf_internal.cache WHERE key LIKE 'square%' ORDER BY key;
-- Wrong use.
SELECT wf_start('cached', '{"x": 1, "key": "", "ttl": null}', id => 'empty');
SELECT wf_result('empty', wait => '10 s');
SELECT wf_start('cached', jsonb_build_object('x', 1, 'key', repeat('x', 2000)), id => 'long');
SELECT wf_result('long', wait => '10 s');
SELECT wf_start('cached', '{"x": 1, "key": "a", "ttl": "-1 s"}', id => 'negative');
SELECT wf_result('negative', wait => '10 s');
SELECT wf_start('cached', '{"x": 1, "key": null, "ttl": "1 s"}', id => 'no key');
SELECT wf_result('no key', wait => '10 s');
SELECT wf_start('cached', '{"x": 1, "key": "for ever", "ttl": "200000 years"}', id => 'for ever');
SELECT wf_result('for ever', wait => '10 s');
CREATE FUNCTION forgets(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN to_jsonb(wf_cache_forget('a')); END $$;
SELECT wf_start('forgets', id => 'forgets');
SELECT wf_result('forgets', wait => '10 s');
CREATE FUNCTION forgets_in_a_step(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('forget', 'SELECT wf_cache_forget(''square of 2'')'); END $$;
SELECT wf_start('forgets_in_a_step', id => 'forgets in a step');
SELECT wf_result('forgets in a step', wait => '10 s');
DROP OWNED BY regress_cache;
DROP ROLE regress_cache;
