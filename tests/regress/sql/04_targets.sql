-- What a step can be: functions, procedures and SQL, called in every way.
CREATE TABLE orders (id int PRIMARY KEY, state text, total numeric);
CREATE TYPE mood AS ENUM ('calm', 'busy');
CREATE TYPE item AS (sku text, qty int);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);

-- One workflow that takes any target and hands back what the step gave, or how it failed.
CREATE FUNCTION one_step(target text, input jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    hint text;
BEGIN
    RETURN wf_step('only', target, input);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN jsonb_strip_nulls(jsonb_build_object('sqlstate', SQLSTATE, 'message', SQLERRM,
                                                'detail', nullif(detail, ''), 'hint', nullif(hint, '')));
END $$;
CREATE SEQUENCE run_ids;
CREATE PROCEDURE try(target text, input jsonb DEFAULT NULL, INOUT result jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    id text;
BEGIN
    id := wf_start('one_step', jsonb_strip_nulls(jsonb_build_object('target', target)) ||
                   CASE WHEN input IS NULL THEN '{}' ELSE jsonb_build_object('input', input) END,
                   id => 'try-' || nextval('run_ids'));
    COMMIT;
    result := wf_result(id, wait => '10 s');
END $$;

-- Functions.
CREATE FUNCTION whole(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('got', input) $$;
CREATE FUNCTION whole_json(j json) RETURNS json LANGUAGE sql AS $$ SELECT json_build_object('got', j) $$;
CREATE FUNCTION no_args() RETURNS text LANGUAGE sql AS $$ SELECT 'none' $$;
CREATE FUNCTION named(a int, b text DEFAULT 'default', c text DEFAULT 'c') RETURNS text LANGUAGE sql AS $$ SELECT concat_ws('/', a, b, c) $$;
CREATE FUNCTION types(i item, list int[], m mood, p positive, d date, n numeric(6, 2), iv interval, items item[])
    RETURNS text LANGUAGE sql AS $$ SELECT concat_ws(' ', i, list, m, p, d, n, iv, items) $$;
CREATE FUNCTION many(first text, VARIADIC rest int[] DEFAULT '{}') RETURNS text LANGUAGE sql AS $$ SELECT first || ' ' || rest::text $$;
CREATE FUNCTION "Odd Name"("Mixed Case" int, "with ""quote""" int) RETURNS int LANGUAGE sql AS $$ SELECT $1 + $2 $$;
CREATE SCHEMA shop;
CREATE FUNCTION shop.price(sku text) RETURNS numeric LANGUAGE sql AS $$ SELECT 9.90 $$;
CREATE FUNCTION set_of() RETURNS SETOF int LANGUAGE sql AS $$ SELECT generate_series(1, 3) $$;
CREATE FUNCTION set_of_nothing() RETURNS SETOF int LANGUAGE sql AS $$ SELECT 1 WHERE false $$;
CREATE FUNCTION set_of_items() RETURNS SETOF item LANGUAGE sql AS $$ VALUES (('a', 1)::item), (('b', NULL)::item), (NULL) $$;
CREATE FUNCTION table_of() RETURNS TABLE (n int, square int) LANGUAGE sql AS $$ SELECT g, g * g FROM generate_series(1, 2) AS g $$;
CREATE FUNCTION out_args(a int, OUT double int, OUT triple int) LANGUAGE sql AS $$ SELECT 2 * a, 3 * a $$;
CREATE FUNCTION inout_arg(INOUT a int) LANGUAGE sql AS $$ SELECT a + 1 $$;
CREATE FUNCTION one_item() RETURNS item LANGUAGE sql AS $$ SELECT 'a', 1 $$;
CREATE FUNCTION some_record() RETURNS record LANGUAGE sql AS $$ SELECT 1, 'x'::text $$;
CREATE FUNCTION returns_void() RETURNS void LANGUAGE sql AS $$ SELECT 1 $$;
CREATE FUNCTION returns_null() RETURNS text LANGUAGE sql AS $$ SELECT NULL::text $$;
CREATE FUNCTION json_null() RETURNS jsonb LANGUAGE sql AS $$ SELECT 'null'::jsonb $$;
CREATE FUNCTION any_type(a anyelement) RETURNS anyelement LANGUAGE sql AS $$ SELECT a $$;
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);
CREATE FUNCTION strict_one(a int, b int) RETURNS int LANGUAGE sql STRICT AS $$ SELECT a + b $$;
CALL try('whole', '{"a": 1}');
CALL try('whole', '[1, 2]');
CALL try('whole');
CALL try('whole_json', '{"a": 1}');
CALL try('no_args');
CALL try('named', '{"a": 1}');
CALL try('named', '{"a": 1, "c": "last"}');
CALL try('named', '{"b": null, "a": 1}');
CALL try('types', '{"i": {"sku": "x", "qty": 2}, "list": [1, 2], "m": "busy", "p": 7, "d": "2026-02-28", "n": 1.005,
                    "iv": "1 day 2 hours", "items": [{"sku": "y"}, {"qty": 3}]}');
CALL try('many', '{"first": "x", "rest": [1, 2]}');
CALL try('many', '{"first": "x"}');
CALL try('"Odd Name"', '{"Mixed Case": 1, "with \"quote\"": 2}');
CALL try('shop.price', '{"sku": "x"}');
CALL try('"shop"."price"', '{"sku": "x"}');
CALL try('any_type', '{"a": 1}');
CALL try('set_of');
CALL try('set_of_nothing');
CALL try('set_of_items');
CALL try('table_of');
CALL try('out_args', '{"a": 2}');
CALL try('inout_arg', '{"a": 2}');
CALL try('one_item');
CALL try('some_record');
CALL try('returns_void');
CALL try('returns_null');
CALL try('json_null');
CALL try('strict_one', '{"a": 1, "b": null}');

-- Procedures.
CREATE PROCEDURE p_void(a int) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO orders VALUES (a, 'by procedure'); END $$;
CREATE PROCEDURE p_whole(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$ BEGIN result := jsonb_build_array(input); END $$;
CREATE PROCEDURE p_inout(a int, INOUT total int DEFAULT 10) LANGUAGE plpgsql AS $$ BEGIN total := coalesce(total, 100) + a; END $$;
CREATE PROCEDURE p_out(a int, OUT double int, OUT note text) LANGUAGE plpgsql AS $$ BEGIN double := 2 * a; note := 'doubled'; END $$;
CREATE PROCEDURE p_default(a int, OUT c int, b int DEFAULT 5) LANGUAGE plpgsql AS $$ BEGIN c := a + b; END $$;
CREATE PROCEDURE p_commits() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;
CALL try('p_void', '{"a": 1}');
CALL try('p_whole', '{"x": 1}');
CALL try('p_inout', '{"a": 1}');
CALL try('p_inout', '{"a": 1, "total": 2}');
CALL try('p_out', '{"a": 1}');
CALL try('p_default', '{"a": 1}');
CALL try('p_default', '{"a": 1, "b": 1}');
CALL try('p_commits');

-- SQL.
CALL try('SELECT 1');
CALL try('SELECT 1 AS a, 2 AS b');
CALL try('SELECT g AS n FROM generate_series(1, 3) AS g');
CALL try('SELECT g, g * g AS square FROM generate_series(1, 2) AS g');
CALL try('SELECT 1 WHERE false');
CALL try('SELECT');
CALL try('SELECT NULL');
CALL try('TABLE orders;');
CALL try('VALUES (1), (2)');
CALL try($$ SELECT $1->>'name' AS name, $1->'list'->1 AS second $$, '{"name": "Ada", "list": [1, 2]}');
CALL try($$ SELECT $1 $$, '"whole"');
CALL try($$ INSERT INTO orders VALUES (2, 'new', 1.50), (3, 'new', 2) $$);
CALL try($$ INSERT INTO orders SELECT ($1->>'id')::int, 'new' RETURNING id $$, '{"id": 4}');
CALL try($$ UPDATE orders SET state = 'paid' WHERE id IN (2, 3) RETURNING id, state $$);
CALL try($$ UPDATE orders SET state = 'paid' WHERE id = 99 $$);
CALL try($$ UPDATE orders SET state = 'paid' WHERE id = 99 RETURNING id $$);
CALL try($$ DELETE FROM orders WHERE id = 4 $$);
CALL try($$ WITH gone AS (DELETE FROM orders WHERE id = 3 RETURNING *) SELECT count(*) FROM gone $$);
CALL try($$ MERGE INTO orders o USING (VALUES (2), (5)) AS v (id) ON o.id = v.id
            WHEN MATCHED THEN UPDATE SET state = 'merged' WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'merged') $$);
CALL try($$ CREATE TABLE made (n int) $$);
CALL try($$ INSERT INTO made VALUES (1); INSERT INTO made SELECT ($1->>'n')::int; SELECT n FROM made ORDER BY n $$, '{"n": 2}');
CALL try($$ SELECT 1; UPDATE made SET n = n + 1 $$);
CALL try($$ SELECT 1; DROP TABLE made $$);
CALL try($$ DO 'BEGIN INSERT INTO orders VALUES (6, ''by DO''); END' $$);
CALL try($$ CALL p_void(7) $$);
CALL try($$ CALL p_inout(1, 2) $$);
CALL try($$ EXPLAIN (COSTS OFF) SELECT 1 $$);
CALL try($$ SHOW timezone $$);
CALL try($$ COMMENT ON TABLE orders IS 'x' $$);
CALL try($$ -- only a comment $$);
CALL try('');
SELECT * FROM orders ORDER BY id;

-- What cannot be called.
CALL try('no_such_function');
CALL try('no_schema.named');
CALL try('COMMIT');
CALL try('COMMIT;');
CALL try('ROLLBACK; SELECT 1');
CALL try('SAVEPOINT a');
CALL try('VACUUM orders');
CALL try('COPY orders TO STDOUT');
CALL try('SELEC 1');
CALL try('SELECT 1 +; SELECT 2');
CALL try('SELECT $2');
CALL try('total');
CALL try('named', '{"b": "x"}');
CALL try('named', '{"a": "one"}');
CALL try('types', '{"i": null, "list": null, "m": "angry", "p": 0, "d": null, "n": null, "iv": null, "items": null}');
CALL try('types', '{"i": null, "list": null, "m": null, "p": 0, "d": null, "n": null, "iv": null, "items": null}');
CALL try('SELECT 1 / 0');
CALL try('INSERT INTO orders VALUES (1)');

-- A failed step leaves nothing, also when its first statements went well.
CALL try($$ INSERT INTO orders VALUES (100); SELECT 1 / 0 $$);
SELECT count(*) FROM orders WHERE id = 100;
