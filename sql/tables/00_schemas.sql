SET LOCAL search_path = pg_catalog, pg_temp;
-- Texts are UTF-8 wherever this code looks into them.
DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
        RAISE EXCEPTION 'pg_workflow needs a database with the encoding UTF8'
            USING ERRCODE = 'feature_not_supported',
                  DETAIL = pg_catalog.format('This one has %s.', pg_catalog.getdatabaseencoding()),
                  HINT = 'Create another one: CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0.';
    END IF;
END $$;

-- Two schemas, two readers. wf holds the views a person types; wf_internal holds the tables and is nobody's
-- to touch: every access goes through the wf_* functions, which check who asks.
CREATE SCHEMA wf;
CREATE SCHEMA wf_internal;
-- Old versions of workflow functions are recreated here when an instance still needs one.
CREATE SCHEMA wf_versions;

COMMENT ON SCHEMA wf IS 'pg_workflow: views on workflows, steps, signals and workers';
COMMENT ON SCHEMA wf_internal IS 'pg_workflow: tables; use the wf_* functions and the views of schema wf';
COMMENT ON SCHEMA wf_versions IS 'pg_workflow: former versions of workflow functions that instances still run on';

GRANT USAGE ON SCHEMA wf TO PUBLIC;
-- wf_versions: functions there carry the grants of the function that they are a version of.
GRANT USAGE ON SCHEMA wf_versions TO PUBLIC;
