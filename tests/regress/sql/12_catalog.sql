-- What the extension puts into a database: everything is commented, nothing is open that should not be, all is dumped.
-- Members without a comment.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS uncommented
FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'pg_workflow' AND d.deptype = 'e'
  AND (d.classid <> 'pg_class'::regclass OR (SELECT relkind FROM pg_class WHERE oid = d.objid) IN ('r', 'v'))
  AND d.classid <> 'pg_type'::regclass
  AND obj_description(d.objid, d.classid::regclass::name) IS NULL
ORDER BY 1;
-- Public functions: a change here is a change of the interface.
SELECT p.oid::regprocedure AS function, p.prokind AS kind, p.prosecdef AS definer, p.provolatile AS volatility, p.proparallel AS parallel
FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
     JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_workflow'
ORDER BY p.oid::regprocedure::text COLLATE "C";
-- Not for everyone to call.
SELECT p.oid::regprocedure AS not_public
FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
     JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_workflow'
WHERE NOT EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)
ORDER BY 1;
-- SECURITY DEFINER functions pin their search_path.
SELECT p.oid::regprocedure AS unpinned
FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
     JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_workflow'
WHERE p.prosecdef AND NOT coalesce(p.proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp'];
-- What everyone may do with schemas, tables and views.
SELECT n.nspname, has_schema_privilege('public', n.oid, 'USAGE') AS usage, has_schema_privilege('public', n.oid, 'CREATE') AS "create"
FROM pg_namespace n WHERE n.nspname LIKE 'wf%' ORDER BY 1;
SELECT c.oid::regclass AS relation, c.relkind, has_table_privilege('public', c.oid, 'SELECT') AS "select",
       has_table_privilege('public', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS write
FROM pg_class c WHERE c.relnamespace::regnamespace::text IN ('wf', 'wf_internal') AND c.relkind IN ('r', 'v', 'm') ORDER BY 1;
SELECT c.oid::regclass AS no_barrier FROM pg_class c
WHERE c.relnamespace = 'wf'::regnamespace AND c.relkind = 'v' AND NOT coalesce(c.reloptions, '{}') @> '{security_barrier=true}';
-- Views that show rows by their owner, and forget those who may see all.
SELECT c.oid::regclass AS forgets_viewers FROM pg_class c
WHERE c.relnamespace = 'wf'::regnamespace AND c.relkind = 'v'
  AND pg_get_viewdef(c.oid) LIKE '%pg_has_role(%' AND pg_get_viewdef(c.oid) NOT LIKE '%sees_all()%';
-- What stands in a schema that it should not: an install script has to come back from the search_path of views.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS misplaced
FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'pg_workflow' AND d.deptype = 'e'
  AND (pg_identify_object(d.classid, d.objid, d.objsubid)).schema = 'pg_catalog';
-- Tables and sequences that a dump would leave out: the identity of the installation only.
SELECT c.oid::regclass AS not_dumped
FROM pg_class c, pg_extension e
WHERE e.extname = 'pg_workflow' AND c.relnamespace = 'wf_internal'::regnamespace AND c.relkind IN ('r', 'S') AND c.oid <> ALL (e.extconfig)
ORDER BY 1;
-- Columns of the views: a change here is a change of the interface.
SELECT c.relname AS view, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'wf'::regnamespace AND c.relkind = 'v' GROUP BY 1 ORDER BY 1;
-- Settings.
SELECT name, setting, unit, context, short_desc, extra_desc, min_val, max_val FROM pg_settings WHERE name LIKE 'pg_workflow.%' ORDER BY name;
-- The state of health of a server that has all it needs.
SELECT item, ok, hint FROM wf_health() WHERE item NOT IN ('work', 'scheduler', 'launcher');
DO $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN (SELECT count(*) FROM wf.workers WHERE kind = 'scheduler') = 1;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT item, ok, hint FROM wf_health() WHERE NOT ok;
SELECT kind, state, id, step, pid > 0 AS pid, since <= now() AS since FROM wf.workers WHERE kind = 'scheduler';

-- Dropping takes it all along, with old versions of functions.
CREATE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('go'); END $$;
SELECT wf_start('flow', id => 'open');
DO $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN wf_status('open') = 'waiting';
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
CREATE OR REPLACE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '"new"'; END $$;
SELECT wf_signal('open', 'go', '"old"');
SELECT wf_result('open', wait => '10 s');
SELECT p.proname LIKE 'v\_%' AS named, pg_get_userbyid(p.proowner) AS owner, has_function_privilege('public', p.oid, 'EXECUTE') AS public,
       EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e') AS member
FROM pg_proc p WHERE p.pronamespace = 'wf_versions'::regnamespace;
DROP EXTENSION pg_workflow;
SELECT nspname FROM pg_namespace WHERE nspname LIKE 'wf%';
SELECT proname FROM pg_proc WHERE proname LIKE 'wf\_%';
-- And back again, in a schema of its own.
CREATE SCHEMA flows;
CREATE EXTENSION pg_workflow SCHEMA flows;
SELECT flows.wf_start('flow', id => 'again');
SELECT flows.wf_result('again', wait => '10 s');
-- A workflow finds the functions by the search_path that it was started with.
CREATE OR REPLACE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('s', 'SELECT 1'); END $$;
SET search_path = public, flows;
SELECT wf_start('flow', id => 'step');
SELECT wf_result('step', wait => '10 s');
SELECT item, ok FROM wf_health() WHERE item = 'versions';
