-- Mistakes are pointed out: before a workflow runs by wf_check, while it runs by wf.remarks.
CREATE SCHEMA shop;
CREATE TABLE prices (item text, price numeric);
CREATE TABLE shop.stock (item text, units int);
CREATE VIEW cheap AS SELECT item FROM prices WHERE price < 10;
INSERT INTO prices VALUES ('pen', 2), ('desk', 200);
CREATE FUNCTION reserve(item text) RETURNS text LANGUAGE sql AS $$ SELECT item $$;
CREATE FUNCTION hidden(item text) RETURNS text LANGUAGE sql AS $$ SELECT item $$;
CREATE AGGREGATE adds (int) (sfunc = int4pl, stype = int);
CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;

-- Nothing to find.
CREATE FUNCTION clean(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := wf_now();
    r record;
BEGIN
    -- now(), FROM prices: words in comments and strings do not count
    PERFORM wf_step('reserve', 'reserve', input);
    PERFORM wf_step('count', 'SELECT count(*) FROM prices WHERE item = $1->>0', '["pen"]');
    FOR r IN SELECT * FROM jsonb_array_elements(input->'items') AS e(v) LOOP
        PERFORM wf_step('each', $q$ INSERT INTO prices VALUES ($1->>'item', now()) $q$, r.v);
    END LOOP;
    RETURN to_jsonb(extract(epoch FROM at));
END $$;
SELECT * FROM wf_check('clean');

-- One of each.
CREATE FUNCTION careless(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    total numeric := (SELECT sum(price) FROM prices);
BEGIN
    IF now() > '2026-01-01' AND random() < 0.5 THEN
        INSERT INTO shop.stock VALUES ('pen', 1);
    END IF;
    WITH c AS (SELECT item FROM cheap) SELECT count(*) INTO total FROM c JOIN shop.stock USING (item), pg_class, missing_table;
    PERFORM wf_step('reserve', 'reserve', input);
    PERFORM wf_step('typo', 'reserv', input);
    PERFORM wf_step('reserve', 'SELEC 1');
    PERFORM wf_step('no', 'adds');
    PERFORM wf_step(name => 'empty', target => '');
    PERFORM wf_step('fires', 'fires');
    PERFORM nextval('numbers');
    PERFORM pg_sleep(1);
    COMMIT;
    RETURN to_jsonb(total);
EXCEPTION WHEN query_canceled THEN
    RETURN NULL;
END $$;
SELECT * FROM wf_check('careless');
-- By its arguments, by a name of wf_define, with a condition on the columns.
SELECT count(*) FROM wf_check('public.careless(jsonb)');
SELECT wf_define('bad one', 'careless');
SELECT severity, count(*) FROM wf_check('bad one') GROUP BY 1 ORDER BY 1;

-- Lines are those of \sf+, in bodies of the SQL standard too.
CREATE FUNCTION standard(input jsonb) RETURNS jsonb
    BEGIN ATOMIC
        SELECT wf_step('a', 'reserve', input);
        SELECT wf_step('b', 'reserv', (SELECT to_jsonb(price) FROM prices LIMIT 1));
    END;
SELECT * FROM wf_check('standard');
CREATE FUNCTION one_line(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(now()) $$;
SELECT * FROM wf_check('one_line');

-- Tables are looked up where the function finds them, targets where the caller does.
CREATE FUNCTION shop.local_target(i int) RETURNS int LANGUAGE sql AS $$ SELECT i $$;
CREATE FUNCTION pinned(input jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = shop AS $$
BEGIN
    PERFORM count(*) FROM stock;
    PERFORM public.wf_step('t', 'local_target', '{"i": 1}');
    RETURN NULL;
END $$;
SELECT * FROM wf_check('pinned');
SET search_path = public, shop;
SELECT * FROM wf_check('pinned');
RESET search_path;

-- Functions that cannot be workflows, and what the caller may not do.
CREATE FUNCTION unnamed(int, text) RETURNS int LANGUAGE sql AS $$ SELECT $1 $$;
CREATE FUNCTION pseudo(a anyelement, b int) RETURNS int LANGUAGE sql AS $$ SELECT b $$;
SELECT * FROM wf_check('unnamed');
SELECT * FROM wf_check('pseudo');
SELECT * FROM wf_check('fires');
REVOKE ALL ON FUNCTION hidden(text) FROM PUBLIC;
CREATE FUNCTION uses_hidden(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('h', 'hidden', input); END $$;
CREATE ROLE regress_carl LOGIN;
SET ROLE regress_carl;
SELECT * FROM wf_check('uses_hidden');
SELECT * FROM wf_check('hidden');
RESET ROLE;

-- Other languages.
SELECT * FROM wf_check('pg_catalog.now');

-- Wrong use.
SELECT * FROM wf_check('nobody');
\echo :SQLSTATE
SELECT * FROM wf_check('careless(text)');
\echo :SQLSTATE
SELECT * FROM wf_check('careless(');
\echo :SQLSTATE
SELECT * FROM wf_check('');
SELECT * FROM wf_check(NULL);
\echo :SQLSTATE
SELECT * FROM wf_check('adds');
\echo :SQLSTATE
CREATE FUNCTION reserve(item text, units int) RETURNS text LANGUAGE sql AS $$ SELECT item $$;
SELECT * FROM wf_check('reserve');
\echo :SQLSTATE
SELECT * FROM wf_check('reserve(text)');

-- Seen while it runs: once a version, whoever reads it and however often.
CREATE FUNCTION helper() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM shop.stock $$;
CREATE FUNCTION reads(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count(*) FROM cheap, pg_class, information_schema.schemata;
    PERFORM wf_step('in a step', 'SELECT count(*) FROM only_in_steps');
    EXECUTE 'SELECT helper()';
    PERFORM wf_step('another', 'SELECT 1');
    PERFORM wf_status('none');
    RETURN '1';
EXCEPTION WHEN undefined_object THEN
    RETURN '"caught"';
END $$;
CREATE TABLE only_in_steps (n int);
BEGIN;
SELECT wf_start('reads', id => 'reads 1');
CALL wf_run_pending();
COMMIT;
SELECT wf_start('reads', id => 'reads 2');
SELECT wf_result('reads 2', wait => '10 s');
SELECT workflow, version, relation, first_seen <= now() AS seen, run_id = (SELECT run_id FROM wf.workflows WHERE id = 'reads 1') AS in_the_first
FROM wf.remarks ORDER BY relation;
-- Rolled back with the transaction, and said again.
CREATE OR REPLACE FUNCTION reads(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT count(*) FROM prices);
END $$;
BEGIN;
SELECT wf_start('reads', id => 'reads 3');
CALL wf_run_pending();
ROLLBACK;
BEGIN;
SELECT wf_start('reads', id => 'reads 3');
CALL wf_run_pending();
SELECT wf_start('reads', id => 'reads 4');
CALL wf_run_pending();
COMMIT;
SELECT version, relation FROM wf.remarks ORDER BY 1, 2;
-- Steps that run in place, within procedures, are steps.
CREATE PROCEDURE reads_in_place(INOUT result jsonb) LANGUAGE plpgsql AS $$
BEGIN
    CALL wf_step('a', 'SELECT count(*) FROM only_in_steps', '{}', result);
    PERFORM count(*) FROM prices;
    CALL wf_step('b', 'SELECT count(*) FROM only_in_steps', '{}', result);
END $$;
SELECT wf_start('reads_in_place', id => 'in place');
SELECT wf_result('in place', wait => '10 s');
SELECT workflow, relation FROM wf.remarks WHERE workflow = 'reads_in_place';
-- Temporary tables are one session's own.
CREATE TEMP TABLE mine (n int);
CREATE FUNCTION reads_temporary(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM mine); END $$;
BEGIN;
SELECT wf_start('reads_temporary', id => 'temporary');
CALL wf_run_pending();
COMMIT;
SELECT count(*) FROM wf.remarks WHERE workflow = 'reads_temporary';

-- Seen by who sees the instance.
SET ROLE regress_carl;
SELECT count(*) FROM wf.remarks;
RESET ROLE;
DROP ROLE regress_carl;
