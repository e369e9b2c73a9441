SET LOCAL search_path = @extschema@, pg_temp;
-- Functions that clients call. All take effect with the caller's transaction, and not at all if it rolls back.

CREATE FUNCTION wf_define(name text, function text, options jsonb DEFAULT '{}') RETURNS integer
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_define';
COMMENT ON FUNCTION wf_define(text, text, jsonb) IS
'Gives a workflow a name of its own, with options: retry (policy of steps that name none), step_timeout (of an attempt), step_total_timeout (of all attempts), start_timeout, timeout (of a run), priority. Defining a name again replaces it for later starts; instances keep what they started with. Returns the version of the function''s code. Needs: EXECUTE on the function. Errors: 42883 unknown function, 42501 no privilege, 22023 wrong options.';

CREATE FUNCTION wf_undefine(name text) RETURNS boolean
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_undefine';
COMMENT ON FUNCTION wf_undefine(text) IS
'Removes a name given by wf_define; instances in flight go on. Returns whether there was one.';

CREATE FUNCTION wf_start(
    workflow    text,
    input       jsonb       DEFAULT '{}',
    id          text        DEFAULT NULL,
    start_at    timestamptz DEFAULT NULL,
    delay       interval    DEFAULT NULL,
    priority    integer     DEFAULT NULL,
    timeout     interval    DEFAULT NULL,
    on_conflict text        DEFAULT 'use_existing',
    start_timeout interval  DEFAULT NULL,
    queue       text        DEFAULT NULL,
    key         text        DEFAULT NULL,
    dedup       text        DEFAULT NULL
) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_start';
COMMENT ON FUNCTION wf_start(text, jsonb, text, timestamptz, interval, integer, interval, text, interval, text, text, text) IS
'Starts a workflow: a function, or a name given by wf_define. It runs as the current user, once this transaction commits. id: chosen by you or made (UUIDv7); starting the same id again is starting once. start_at or delay: not before then. priority: lower goes first (-1000 to 1000, default 0). timeout: limit for the whole run. start_timeout: limit until its first turn, counted as timeout is from start_at or now; then the run fails with WF003. on_conflict, if the id exists: use_existing (same workflow and input: returns it; otherwise 42710), fail (42710), start_new (if the last run has ended, else as use_existing). queue: it begins when the limits of that queue (wf_queue) let it, and has a place in it until it ends; key: for whom, where the queue is shared by turns; dedup: while an instance that was started with the same one is open in the queue, none is started, and its id is returned. Returns the id. Errors: 42883 unknown workflow, 42501 no privilege on it, 22023 wrong argument or input that does not fit the function, 42710 id in use, WF009 the queue is full.';

CREATE FUNCTION wf_signal(id text, name text, payload jsonb DEFAULT 'null', key text DEFAULT NULL) RETURNS boolean
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_signal';
COMMENT ON FUNCTION wf_signal(text, text, jsonb, text) IS
'Sends a signal to the open run of an id. It is kept until a wf_wait_signal of that name takes it, in the order of sending. If a wait with a schema is open, the payload must fit it. key: sending the same key to the same run again does nothing. Returns false if the key had been sent before. Errors: 42704 unknown id, 55000 the run has ended, 42501 not yours, 22023 the payload does not fit the schema.';

CREATE FUNCTION wf_cancel(id text, reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_cancel';
COMMENT ON FUNCTION wf_cancel(text, text) IS
'Cancels the open run of an id once this transaction commits. A running SQL step is interrupted; a wait ends. The workflow sees SQLSTATE WF002 at the call it stands at and may catch it to clean up. If its owner was dropped it fails at once. Returns false if the run had ended already. Errors: 42704 unknown id, 42501 not yours.';

CREATE FUNCTION wf_status(id text) RETURNS text
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'wf_status';
COMMENT ON FUNCTION wf_status(text) IS
'Status of the open or last run of an id: pending, running, waiting, paused, completed, failed or cancelled. Errors: 42704 unknown id.';

CREATE FUNCTION wf_result(id text, wait interval DEFAULT '0') RETURNS jsonb
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'wf_result';
COMMENT ON FUNCTION wf_result(text, interval) IS
'Result of the open or last run of an id. Waits up to the given time for its end, without polling; the caller''s transaction stays open meanwhile. Errors: the workflow''s own, with its SQLSTATE, if it failed; WF002 if it was cancelled; 55000 if it has not ended in time; 42704 unknown id.';

CREATE FUNCTION wf_get(id text, name text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_get';
COMMENT ON FUNCTION wf_get(text, text) IS
'With a name: the value that the workflow last published under it by wf_set, or NULL. Without: the whole instance as one object. Errors: 42704 unknown id.';
