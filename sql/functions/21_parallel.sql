SET LOCAL search_path = @extschema@, pg_temp;
-- Functions for the inside of a workflow: parallel work, children, compensation, runs without an end.

CREATE FUNCTION wf_begin(
    name     text,
    target   text        DEFAULT NULL,
    input    jsonb       DEFAULT '{}',
    id       text        DEFAULT NULL,
    timeout  interval    DEFAULT NULL,
    on_parent_end text   DEFAULT 'wait',
    workflow text        DEFAULT NULL,
    sleep    interval    DEFAULT NULL,
    until    timestamptz DEFAULT NULL,
    signal   text        DEFAULT NULL,
    retry    jsonb       DEFAULT NULL,
    queue    text        DEFAULT NULL,
    priority integer     DEFAULT NULL,
    start_timeout interval DEFAULT NULL,
    heartbeat interval   DEFAULT NULL,
    total_timeout interval DEFAULT NULL,
    transactional boolean DEFAULT true,
    key      text        DEFAULT NULL,
    dedup    text        DEFAULT NULL
) RETURNS integer
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_begin';
COMMENT ON FUNCTION wf_begin(text, text, jsonb, text, interval, text, text, interval, timestamptz, text, jsonb, text, integer, interval, interval, interval, boolean, text, text) IS
'Begins a call and goes on; returns a handle for wf_await. One of: target (a step, with input, timeout, total_timeout, retry and transactional as in wf_step; it runs beside the workflow, in any executor, and with queue and key when the limits of that queue let it), workflow (a child, with input, id, timeout and on_parent_end as in wf_call), sleep or until (a timer), signal (a wait for a signal, with timeout), queue (a task, with input, timeout, retry, priority, start_timeout, heartbeat, total_timeout, key and dedup as in wf_task). A workflow does not end before its begun steps and tasks have. Errors: 22023 none or several of them, wrong argument; what the call itself raises, wf_await raises.';

CREATE FUNCTION wf_await(handle integer, timeout interval DEFAULT NULL) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_await';
COMMENT ON FUNCTION wf_await(integer, interval) IS
'Waits for a call that wf_begin has begun; returns its result (of a sleep, or a signal that did not come in time, NULL). Raises the call''s own error if it has failed, WF004 when the timeout has passed (the call goes on), WF002 when the instance is cancelled, 22023 for what is no handle of this instance.';

CREATE FUNCTION wf_await(handles integer[], first integer DEFAULT NULL, timeout interval DEFAULT NULL) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_await_many';
COMMENT ON FUNCTION wf_await(integer[], integer, interval) IS
'Waits until all of the calls are done, or the first n of them, or the timeout has passed. Returns those that are done, in the order of the handles: [{"handle", "name", "ok": true, "result"}, {"handle", "name", "ok": false, "error": {"sqlstate", "message", ...}}, ...]. Does not raise their errors, so that none hides the others'' results. Raises WF002 when the instance is cancelled, 22023 for wrong arguments.';

CREATE FUNCTION wf_map(
    name         text,
    target       text     DEFAULT NULL,
    items        jsonb    DEFAULT NULL,
    query        text     DEFAULT NULL,
    max_parallel integer  DEFAULT NULL,
    tolerate     integer  DEFAULT NULL,
    workflow     text     DEFAULT NULL,
    input        jsonb    DEFAULT '{}',
    timeout      interval DEFAULT NULL,
    retry        jsonb    DEFAULT NULL,
    queue        text     DEFAULT NULL,
    key          text     DEFAULT NULL
) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_map';
COMMENT ON FUNCTION wf_map(text, text, jsonb, text, integer, integer, text, jsonb, interval, jsonb, text, text) IS
'Runs a step (target), or a child (workflow), for each item, side by side, and waits for all. items: a JSON array; or query: SQL with input as $1, whose rows are the items (values if there is one column, else objects), run once. An item is the step''s input. max_parallel: items at work at a time (default: all). timeout, retry: of each item''s step, as in wf_step; of a child, timeout only. queue, key: each item''s step runs when the limits of that queue (wf_queue) let it. Returns the results in the order of the items. tolerate: number of items that may fail; then each result is {"ok": true, "result"} or {"ok": false, "error"}. Raises WF006 as soon as more have failed, WF002 when the instance is cancelled, 22023 for wrong arguments, 54000 when the items or the results exceed pg_workflow.max_payload, WF009 the queue is full.';

CREATE FUNCTION wf_call(
    name     text,
    workflow text,
    input    jsonb    DEFAULT '{}',
    id       text     DEFAULT NULL,
    timeout  interval DEFAULT NULL,
    on_parent_end text DEFAULT 'wait'
) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_call';
COMMENT ON FUNCTION wf_call(text, text, jsonb, text, interval, text) IS
'Starts a workflow as a child, waits for its end and returns its result. id: default PARENT-ID/name, with /2, /3 ... where the name comes again. timeout: for the whole child. on_parent_end, if this instance ends first: wait (it does not, unless it fails or is cancelled; then the child is cancelled), cancel, abandon (the child goes on). Raises the child''s own error if it has failed, WF002 if it or this instance was cancelled, 42883 unknown workflow, 42710 id in use, 54000 too many parents above.';

CREATE FUNCTION wf_compensate(
    name    text,
    target  text,
    input   jsonb    DEFAULT '{}',
    timeout interval DEFAULT NULL,
    retry   jsonb    DEFAULT NULL
) RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_compensate';
COMMENT ON FUNCTION wf_compensate(text, text, jsonb, interval, jsonb) IS
'Registers what undoes the work so far, for the case that the workflow fails or is cancelled: then those registered run as steps of their own, the last one first, with target, input, timeout and retry as in wf_step. One that fails for good is recorded, and the others are run all the same; the instance''s error says in "compensated" which ran and how. Errors: 22023 wrong argument.';

CREATE FUNCTION wf_rollback() RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_rollback';
COMMENT ON FUNCTION wf_rollback() IS
'Runs the compensations registered so far, the last one first, and goes on when all have been run. Returns what has become of each that was run in this instance: [{"name", "status", "error"}, ...]. They do not run again at the end.';

CREATE FUNCTION wf_continue_as_new(input jsonb) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_continue_as_new';
COMMENT ON FUNCTION wf_continue_as_new(jsonb) IS
'Ends this run and starts the next one of the same id with another input, on the newest code of the workflow: RETURN wf_continue_as_new(...). Does not return. Signals that nobody has taken go along; begun steps, and children that are to be waited for, end first. wf_result and parents wait for the last run. Errors: 22023 input that does not fit the function, 54000 input too large.';
