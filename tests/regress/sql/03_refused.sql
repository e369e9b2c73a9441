-- Bad input is refused at the door: an error with what to do about it, and no row.
CREATE FUNCTION ok(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN input; END $$;
CREATE FUNCTION named(a int, b text, c date DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN a || b; END $$;
CREATE FUNCTION bare(int, text) RETURNS text LANGUAGE sql AS $$ SELECT $2 $$;
CREATE FUNCTION over(input jsonb) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;
CREATE FUNCTION over(a int) RETURNS int LANGUAGE sql AS $$ SELECT 2 $$;
CREATE FUNCTION twin(a int) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;
CREATE FUNCTION twin(a text) RETURNS int LANGUAGE sql AS $$ SELECT 2 $$;
CREATE FUNCTION by_key(a int) RETURNS text LANGUAGE sql AS $$ SELECT 'a' $$;
CREATE FUNCTION by_key(b text) RETURNS text LANGUAGE sql AS $$ SELECT 'b' $$;
CREATE FUNCTION by_key(a int, b int) RETURNS text LANGUAGE sql AS $$ SELECT 'a and b' $$;
CREATE FUNCTION any_type(a anyelement) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$;
CREATE PROCEDURE proc(input jsonb) LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE FUNCTION trig() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);

-- The SQLSTATE that a statement is refused with, for errors of other people's wording.
CREATE FUNCTION refused(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;

-- Which workflow?
SELECT wf_start('no_such_workflow');
\echo :SQLSTATE
SELECT wf_start('no_schema.ok');
SELECT wf_start('ok(jsonb)');
SELECT wf_start('SELECT 1');
SELECT wf_start('"open');
SELECT wf_start('');
SELECT wf_start(NULL);
\echo :SQLSTATE
SELECT wf_start(repeat('x', 2000));
\echo :SQLSTATE
SELECT wf_start('twin', '{"a": 1}');
\echo :SQLSTATE
SELECT wf_start('over', '{"a": 1}');
\echo :SQLSTATE
SELECT wf_start('total', '{"a": 1}');
SELECT refused($$ SELECT wf_start('trig', id => 'trigger') $$);
SELECT wf_start('any_type', '{"a": 1}');
\echo :SQLSTATE

-- Which input?
SELECT wf_start('named', '{"a": 1}');
\echo :SQLSTATE
SELECT wf_start('named', '{}');
SELECT wf_start('named');
SELECT wf_start('named', '{"a": 1, "b": "x", "d": 1}');
SELECT wf_start('named', '{"A": 1, "b": "x"}');
SELECT wf_start('named', '[1, "x"]');
SELECT wf_start('named', 'null');
SELECT wf_start('named', NULL);
\echo :SQLSTATE
SELECT wf_start('bare', '{"a": 1}');
SELECT wf_start('ok', '{"a": ');
\echo :SQLSTATE
-- A value that is not of the parameter's type.
SELECT refused($$ SELECT wf_start('named', '{"a": "one", "b": "x"}', id => 'bad-type') $$);
SELECT refused($$ SELECT wf_start('named', '{"a": 1, "b": "x", "c": "yesterday-ish"}', id => 'bad-date') $$);

-- Overloads: the keys decide.
SELECT wf_start('by_key', '{"a": 1}', id => 'key-a');
SELECT wf_start('by_key', '{"b": "x"}', id => 'key-b');
SELECT wf_start('by_key', '{"a": 1, "b": 2}', id => 'key-ab');
SELECT wf_result('key-a', wait => '10 s'), wf_result('key-b', wait => '10 s'), wf_result('key-ab', wait => '10 s');

-- Which id, time, priority, limit?
SELECT wf_start('ok', id => '');
SELECT wf_start('ok', id => repeat('x', 2000));
SELECT wf_start('ok', start_at => '2050-01-01', delay => '1 day');
\echo :SQLSTATE
SELECT wf_start('ok', delay => '-1 second');
\echo :SQLSTATE
SELECT wf_start('ok', delay => 'a while');
SELECT refused($$ SELECT wf_start('ok', start_at => 'infinity', id => 'never') $$);
SELECT wf_start('ok', delay => '300000 years');
SELECT wf_start('ok', priority => 1001);
\echo :SQLSTATE
SELECT wf_start('ok', priority => -1001);
SELECT wf_start('ok', timeout => '0');
SELECT wf_start('ok', timeout => '-1 hour');
\echo :SQLSTATE
SELECT wf_signal('key-a', '');
SELECT wf_signal(NULL, 'x');
SELECT wf_signal('key-a', NULL);
SELECT wf_signal('key-a', 'x', NULL);
SELECT wf_signal('key-a', 'x', 'null', '');
SELECT wf_signal('key-a', 'x');
\echo :SQLSTATE
SELECT wf_cancel(NULL);
SELECT wf_get(NULL);

-- Too large.
SET pg_workflow.max_payload = '10kB';
SELECT wf_start('ok', to_jsonb(repeat('x', 11000)));
\echo :SQLSTATE
RESET pg_workflow.max_payload;

-- Not in two-phase commit.
BEGIN;
SELECT wf_start('ok', id => 'prepared');
PREPARE TRANSACTION 'p';
\echo :SQLSTATE

-- All that was refused left nothing.
SELECT id, status FROM wf.workflows ORDER BY id;
SELECT workflow FROM wf.definitions ORDER BY 1;

-- Good ones at the borders.
SELECT wf_start('ok', id => 'past', start_at => '2000-01-01');
SELECT wf_start('ok', id => 'at-once', delay => '0');
SELECT wf_start('ok', id => 'first', priority => -1000);
SELECT wf_start('ok', id => 'last', priority => 1000);
SELECT wf_start('ok', id => repeat('i', 1024)) = repeat('i', 1024) AS long_id;
SELECT wf_start('ok', id => 'next century', start_at => '2100-01-01', timeout => '1 day');
SELECT id, status, waiting_for, priority, deadline FROM wf.workflows WHERE id = 'next century';
SELECT wf_result(id, wait => '10 s') FROM unnest('{past,at-once,first,last}'::text[]) AS id;
