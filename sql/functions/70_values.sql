SET LOCAL search_path = @extschema@, pg_temp;
-- Values and streams: what an instance shows to the outside while it runs.

CREATE FUNCTION wf_emit(name text, value jsonb) RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_emit';
COMMENT ON FUNCTION wf_emit(text, jsonb) IS
'Inside a workflow: appends a value to a stream of the instance. All are kept, in order, for readers outside (wf_read_stream, wf.streams). It is visible with the next step, wait or end. Errors: 55000 outside of a workflow, 54000 larger than pg_workflow.max_payload.';

CREATE FUNCTION wf_wait_value(id text, name text, wait interval DEFAULT '10 s', known jsonb DEFAULT NULL) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_wait_value';
COMMENT ON FUNCTION wf_wait_value(text, text, interval, jsonb) IS
'The value that the open or last run of an id has published under a name by wf_set, as soon as there is one that differs from known (NULL: any). Waits for it without polling; the caller''s transaction stays open meanwhile. Returns NULL when the time has passed, and at once when the run has ended without such a value. Only the latest value counts: one that was replaced meanwhile is not seen. Errors: 42704 unknown id, 42501 not yours, 55000 in a workflow or a step, or where the value could not be seen (a transaction that has started the instance itself, REPEATABLE READ and above).';

CREATE FUNCTION wf_read_stream(id text, name text, after bigint DEFAULT 0, wait interval DEFAULT '0')
    RETURNS TABLE (seq bigint, value jsonb, at timestamptz)
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_read_stream';
COMMENT ON FUNCTION wf_read_stream(text, text, bigint, interval) IS
'What the open or last run of an id has appended to a stream by wf_emit behind position after, in order. If there is nothing, waits up to the given time for the first, without polling; the caller''s transaction stays open meanwhile. Pass the last seq as after to go on. seq grows within a run, with gaps. Returns no row when the time has passed, and at once when the run has ended. Errors: 42704 unknown id, 42501 not yours; with a wait also 55000, as wf_wait_value.';
