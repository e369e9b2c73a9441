SET LOCAL search_path = @extschema@, pg_temp;
-- Workflows that changes of a table start.

CREATE FUNCTION wf_on(
    "table"  regclass,
    event    text,
    workflow text,
    "when"   text DEFAULT NULL,
    input    text DEFAULT NULL,
    id       text DEFAULT NULL,
    name     text DEFAULT NULL
) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_on';
COMMENT ON FUNCTION wf_on(regclass, text, text, text, text, text, text) IS
'Has each changed row of a table start a workflow, in the transaction that changes it: if and only if that commits. event: insert, update, update of a, b, delete, or several joined by or. when: a condition over NEW and OLD, as in CREATE TRIGGER. input: a SQL expression over NEW and OLD that gives the input (default: to_jsonb of the new row, of the old one for a delete). id: a SQL expression that gives the id (default: made). In input and id names outside of pg_catalog must be qualified. name: of the trigger (default: wf_ and the workflow). Makes an AFTER ROW trigger and its function beside the table, both in its dump; the workflow runs as the caller of wf_on, whoever changes the row. A start that fails fails the change. Returns the trigger''s name. Needs: TRIGGER on the table, CREATE on its schema, EXECUTE on the workflow, LOGIN. Errors: 42883 unknown workflow, 42501 no privilege, 42809 not a table, 42710 name in use, 22023 wrong event, and Postgres'' own for wrong expressions.';

-- In a schema in which nobody else can create: no overload can get in its place.
CREATE FUNCTION wf.start_for_row(workflow text, input jsonb, id text) RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_start_for_row';
COMMENT ON FUNCTION wf.start_for_row(text, jsonb, text) IS 'wf_start, as the triggers of wf_on call it';

CREATE FUNCTION wf_off("table" regclass, name text) RETURNS boolean
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_off';
COMMENT ON FUNCTION wf_off(regclass, text) IS
'Takes away a trigger that wf_on has made, with its function; instances in flight go on. Needs: to be who called wf_on, or a member of that role. Returns whether there was one. Errors: 42501 not yours.';
