SET LOCAL search_path = @extschema@, pg_temp;
-- Tasks: work that workers outside of the server do for a workflow.

CREATE FUNCTION wf_task(
    name          text,
    queue         text,
    input         jsonb    DEFAULT '{}',
    timeout       interval DEFAULT NULL,
    retry         jsonb    DEFAULT NULL,
    priority      integer  DEFAULT NULL,
    start_timeout interval DEFAULT NULL,
    heartbeat     interval DEFAULT NULL,
    total_timeout interval DEFAULT NULL,
    key           text     DEFAULT NULL,
    dedup         text     DEFAULT NULL
) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_task';
COMMENT ON FUNCTION wf_task(text, text, jsonb, interval, jsonb, integer, interval, interval, interval, text, text) IS
'Inside a workflow: puts a task into a queue, from which a worker outside of the server takes it (wf_poll), and waits for its result. timeout: of one attempt, from the worker''s claim. heartbeat: the longest time without a sign of life, whatever lease the worker asks for. start_timeout: in the queue, until a worker claims it. total_timeout: of all, retries included. retry: as in wf_step, for attempts that have failed, taken too long or lost their worker (default: the workflow''s, else 5 attempts). priority: lower goes first (default: the instance''s). key: for whom, where the queue is shared by turns. dedup: while a task that was made with the same one is open in the queue, none is made, and its answer is this call''s, too. Raises the worker''s error (WF008 unless it names another SQLSTATE), WF004 when a timeout has passed, WF007 when the worker of the last attempt was lost, WF002 when the instance is cancelled, WF009 when the queue is full, 22023 for wrong arguments, 54000 when input or result exceeds pg_workflow.max_payload.';

CREATE FUNCTION wf_queue(
    name        text,
    max_running integer  DEFAULT NULL,
    rate        integer  DEFAULT NULL,
    per         interval DEFAULT NULL,
    paused      boolean  DEFAULT NULL,
    workers     text[]   DEFAULT NULL,
    max_running_per_key integer DEFAULT NULL,
    max_backlog integer  DEFAULT NULL,
    overflow    text     DEFAULT NULL,
    notify      boolean  DEFAULT NULL
) RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_queue';
COMMENT ON FUNCTION wf_queue(text, integer, integer, interval, boolean, text[], integer, integer, text, boolean) IS
'Makes or changes a queue of the current user''s, for tasks and steps of its instances, and for the instances themselves. What is not given stays as it is; a change takes effect when this transaction commits. max_running: tasks, steps and instances that run at a time, 0 for any number; max_running_per_key: of those with one key. rate: how many begin in each "per" (default 1 s), as many at once after a pause; 0 for any number. max_backlog: how many may wait, 0 for any number; overflow, if as many wait: reject (default: what comes then fails with WF009), drop_oldest (what has waited longest fails with WF009). paused: nothing begins until it is false. notify: whatever gives its workers something to claim sends a NOTIFY to channel pg_workflow with the queue''s name. workers: roles that may claim, complete and see its tasks, beside the owner and members of its role. A queue that nobody has made is made by what is first put into it, without limits. Errors: 22023 wrong argument, 42704 unknown role.';

CREATE FUNCTION wf_internal.poll(queues text[], worker text, max integer, lease interval) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_poll';
COMMENT ON FUNCTION wf_internal.poll(text[], text, integer, interval) IS 'claims tasks; behind wf_poll';

CREATE FUNCTION wf_poll(
    queues text[],
    worker text     DEFAULT NULL,
    max    integer  DEFAULT 1,
    lease  interval DEFAULT '1 minute'
) RETURNS TABLE (task text, queue_name text, name text, attempt integer, input jsonb, idempotency_key text,
                 deadline timestamptz, lease_until timestamptz, heartbeat jsonb, id text, workflow text, trace text)
    LANGUAGE sql
BEGIN ATOMIC
    SELECT t.task, t.queue_name, t.name, t.attempt, t.input, t.idempotency_key, t.deadline, t.lease_until, t.heartbeat, t.id, t.workflow, t.trace
    FROM pg_catalog.jsonb_to_recordset(wf_internal.poll(queues, worker, max, lease))
         AS t(task text, queue_name text, name text, attempt integer, input jsonb, idempotency_key text,
              deadline timestamptz, lease_until timestamptz, heartbeat jsonb, id text, workflow text, trace text);
END;
COMMENT ON FUNCTION wf_poll(text[], text, integer, interval) IS
'For a worker: claims up to max tasks (1 to 10000) of the queues, those of the first queue first, and in each by priority and age. Returns no row if there are none, or none that the caller may claim: tasks of the caller''s own instances, of roles it is a member of, and of queues that name it in "workers". The claim holds until lease_until, when the transaction has committed: claim in a transaction of its own. task: the token that wf_complete, wf_fail and wf_heartbeat want. idempotency_key: the same in all attempts. deadline: when the attempt is given up at the latest. heartbeat: the last details of the attempt before. trace: a W3C traceparent, if the instance was started in a trace. worker: a name to be shown. Errors: 22023 wrong argument.';

CREATE FUNCTION wf_poll(
    queue  text,
    worker text     DEFAULT NULL,
    max    integer  DEFAULT 1,
    lease  interval DEFAULT '1 minute'
) RETURNS TABLE (task text, queue_name text, name text, attempt integer, input jsonb, idempotency_key text,
                 deadline timestamptz, lease_until timestamptz, heartbeat jsonb, id text, workflow text, trace text)
    LANGUAGE sql
BEGIN ATOMIC
    SELECT t.task, t.queue_name, t.name, t.attempt, t.input, t.idempotency_key, t.deadline, t.lease_until, t.heartbeat, t.id, t.workflow, t.trace
    FROM pg_catalog.jsonb_to_recordset(wf_internal.poll(ARRAY[queue], worker, max, lease))
         AS t(task text, queue_name text, name text, attempt integer, input jsonb, idempotency_key text,
              deadline timestamptz, lease_until timestamptz, heartbeat jsonb, id text, workflow text, trace text);
END;
COMMENT ON FUNCTION wf_poll(text, text, integer, interval) IS 'wf_poll of one queue.';

CREATE PROCEDURE wf_poll(
    queues text[],
    wait   interval,
    INOUT result jsonb,
    worker text     DEFAULT NULL,
    max    integer  DEFAULT 1,
    lease  interval DEFAULT '1 minute'
)
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_poll_many_procedure';
COMMENT ON PROCEDURE wf_poll(text[], interval, jsonb, text, integer, interval) IS
'For a worker with a connection of its own: claims tasks as the function wf_poll does, and waits up to "wait" if there are none, without a snapshot and without looking again and again: whoever makes a task claimable wakes it. Returns a JSON array with an object a task, whose keys are the columns of the function, [] when the time has passed. Errors: 25001 inside a transaction block, 22023 wrong argument.';

CREATE PROCEDURE wf_poll(
    queue  text,
    wait   interval,
    INOUT result jsonb,
    worker text     DEFAULT NULL,
    max    integer  DEFAULT 1,
    lease  interval DEFAULT '1 minute'
)
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_poll_procedure';
COMMENT ON PROCEDURE wf_poll(text, interval, jsonb, text, integer, interval) IS 'CALL wf_poll of one queue.';

CREATE FUNCTION wf_complete(task text, result jsonb DEFAULT NULL) RETURNS boolean
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_complete';
COMMENT ON FUNCTION wf_complete(text, jsonb) IS
'For a worker: the task is done, with this result. Takes effect when the caller''s transaction commits. False if this attempt has completed it before: a worker that does not know whether its commit arrived says it again. Raises WF007 if the task is not this attempt''s any more (its lease has expired, another attempt has it or has ended it, its call was cancelled, its instance has ended), 42704 unknown task, 42501 a queue that is not the caller''s to work on, 54000 when the result exceeds pg_workflow.max_payload.';

CREATE FUNCTION wf_internal.complete(tasks jsonb) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_complete_many';
COMMENT ON FUNCTION wf_internal.complete(jsonb) IS 'completes tasks; behind wf_complete';

CREATE FUNCTION wf_complete(tasks jsonb) RETURNS TABLE (task text, outcome text)
    LANGUAGE sql
BEGIN ATOMIC
    SELECT t.task, t.outcome
    FROM pg_catalog.jsonb_to_recordset(wf_internal.complete(tasks)) AS t(task text, outcome text);
END;
COMMENT ON FUNCTION wf_complete(jsonb) IS
'For a worker: completes many tasks at once, [{"task", "result"}, ...]. Returns what has become of each: completed, repeated (this attempt had completed it before), lost (not this attempt''s any more; see wf_complete of one). One that is lost does not hinder the others. Errors: 22023 for what is no such array, else as wf_complete of one.';

CREATE FUNCTION wf_fail(
    task      text,
    message   text,
    retryable boolean  DEFAULT true,
    delay     interval DEFAULT NULL,
    sqlstate  text     DEFAULT 'WF008',
    detail    text     DEFAULT NULL,
    counts    boolean  DEFAULT true
) RETURNS boolean
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_fail';
COMMENT ON FUNCTION wf_fail(text, text, boolean, interval, text, text, boolean) IS
'For a worker: the attempt has failed. If it is retryable and the retry policy agrees, the task is queued again after the policy''s wait, or after "delay"; else the workflow gets the error: message, detail and sqlstate, by which it may be caught and retried. counts: false hands it back, as a worker that is stopped does: the attempt does not count, and the task is queued again at once, or after "delay", whatever the policy says. False if this attempt has said so before. Errors: WF007, 42704, 42501 as wf_complete, 22023 wrong argument.';

CREATE FUNCTION wf_heartbeat(task text, details jsonb DEFAULT NULL, lease interval DEFAULT NULL) RETURNS boolean
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_heartbeat';
COMMENT ON FUNCTION wf_heartbeat(text, jsonb, interval) IS
'For a worker: a sign of life. The lease counts anew from now, with its former length or another. details are kept for the next attempt, should there be one. True: go on. False: stop, the call was cancelled or its instance has ended. Raises WF007 if the task is not this attempt''s any more; 42704, 42501, 54000 as wf_complete; 22023 wrong argument.';
