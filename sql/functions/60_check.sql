SET LOCAL search_path = @extschema@, pg_temp;
-- Mistakes that can be seen before a workflow runs.

CREATE FUNCTION wf_internal.findings(function text) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_check';
COMMENT ON FUNCTION wf_internal.findings(text) IS 'the rows of wf_check as an array';

-- Not pinned: names in the function mean what they mean to the caller. All that is called here is bound when it is created.
CREATE FUNCTION wf_check(function text) RETURNS TABLE (line integer, severity text, "check" text, message text)
    LANGUAGE sql
    BEGIN ATOMIC
        SELECT f.line, f.severity, f."check", f.message
        FROM pg_catalog.jsonb_to_recordset(wf_internal.findings(wf_check.function))
             AS f(line integer, severity text, "check" text, message text);
    END;
COMMENT ON FUNCTION wf_check(text) IS
'Looks at a workflow function (its name, its name with argument types, or a name given by wf_define) without running it; one row a finding, none if there are none. line: of the source, as \sf+ counts; NULL: of the function as a whole. severity: error (it will fail), warning (a replay may differ), note. check: write, read, volatile, wait, effect, transaction, handler, target, name, workflow, body. Targets are looked up in the search_path of the caller, tables in the function''s own if it has one. Reads the source of plpgsql and sql; of other languages the catalogue only. Errors: 42883 unknown function, 42725 several of that name, 42809 not a plain function.';
