-- A result of every built-in type comes back through to_jsonb, and a step's effects are kept with it.
CREATE FUNCTION as_result(expression text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('value', 'SELECT ' || expression);
END $$;
CREATE TYPE pair AS (a int, b text);
CREATE TYPE mood AS ENUM ('calm', 'busy');
CREATE DOMAIN code AS text CHECK (VALUE ~ '^[a-z]+$');
CREATE TABLE expressions (n int GENERATED ALWAYS AS IDENTITY, expression text);
INSERT INTO expressions (expression) VALUES
    ('true'), ('1::smallint'), ('2147483647'), ('9223372036854775807'), ('1.10::numeric'), ('''NaN''::numeric'),
    ('1e30::numeric * 1e-30'), ('-1e25::numeric'), ('0.1::float4'), ('0.1::float8'), ('''Infinity''::float8'), ('''NaN''::float8'),
    ('''12.34''::money'), ('''a "quoted" \ text''::text'), ('E''line\nbreak\ttab\u00e4''::text'), ('''ab''::char(4)'), ('''ab''::varchar'),
    ('''x''::"char"'), ('''a name''::name'), ('''\x00ff''::bytea'), ('''2026-02-28''::date'), ('''infinity''::date'),
    ('''12:34:56.789''::time'), ('''12:34:56+02''::timetz'), ('''2026-02-28 12:34:56.123456''::timestamp'),
    ('''2026-02-28 12:34:56+02''::timestamptz'), ('''-infinity''::timestamptz'), ('''1 year 2 mons 3 days 04:05:06.7''::interval'),
    ('''{"b": 1, "a": [true, null]}''::json'), ('''{"b": 1, "a": [true, null]}''::jsonb'), ('''null''::jsonb'), ('NULL::int'), ('NULL::jsonb'),
    ('''$.a[*]''::jsonpath'), ('''6b9b5b8c-8d5c-4c7b-9a55-0e4f0f3f1a11''::uuid'),
    ('''192.168.0.1/24''::inet'), ('''10.0.0.0/8''::cidr'), ('''08:00:2b:01:02:03''::macaddr'), ('''08:00:2b:01:02:03:04:05''::macaddr8'),
    ('B''101''::bit(3)'), ('B''101''::varbit'), ('''(1,2)''::point'), ('''{1,2,3}''::line'), ('''[(0,0),(1,1)]''::lseg'), ('''(1,1),(0,0)''::box'),
    ('''((0,0),(1,1))''::path'), ('''((0,0),(1,1),(1,0))''::polygon'), ('''<(0,0),1>''::circle'),
    ('to_tsvector(''simple'', ''a fat cat'')'), ('to_tsquery(''simple'', ''fat & cat'')'),
    ('''{1,2,NULL}''::int[]'), ('''{{a,b},{c,d}}''::text[]'), ('''{}''::int[]'), ('''[0:1]={1,2}''::int[]'), ('ARRAY[''1 day''::interval]'),
    ('ARRAY[''{"a": 1}''::jsonb]'), ('ARRAY[(1, ''x'')::pair]'), ('''[1,10)''::int4range'), ('''empty''::daterange'), ('''{[1,2),[5,7)}''::int4multirange'),
    ('(1, ''x'')::pair'), ('ROW(1, NULL, ''x'')'), ('''busy''::mood'), ('ARRAY[''calm'', ''busy'']::mood[]'), ('''abc''::code'),
    ('''pg_class''::regclass'), ('''integer''::regtype'), ('1::oid'), ('''(0,1)''::tid'), ('''0/16B3748''::pg_lsn'), ('''1''::xid'), ('''5''::xid8'), ('''10:20:10,14''::pg_snapshot'),
    ('''1 2 3''::int2vector');
SELECT count(wf_start('as_result', jsonb_build_object('expression', expression), id => 'type-' || n)) FROM expressions;
SELECT expression, wf_result('type-' || n, wait => '10 s') FROM expressions ORDER BY n;
SELECT id, error FROM wf.workflows WHERE status = 'failed';

-- A result that JSON cannot hold fails the step together with its effects.
CREATE TABLE effects (note text);
CREATE FUNCTION too_large(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('large', 'INSERT INTO effects VALUES (''kept'') RETURNING repeat(''x'', 17000000)');
END $$;
SELECT wf_start('too_large', id => 'large');
SELECT wf_result('large', wait => '10 s');
\echo :SQLSTATE
SELECT * FROM effects;
CREATE FUNCTION too_large_result(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN to_jsonb(repeat('x', 17000000)); END $$;
SELECT wf_start('too_large_result', id => 'large-result');
SELECT wf_result('large-result', wait => '10 s');
