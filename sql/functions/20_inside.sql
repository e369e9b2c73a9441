SET LOCAL search_path = @extschema@, pg_temp;
-- Functions for the inside of a workflow. Called elsewhere they raise 55000.
-- What they return is recorded: a replay gets the same answer without doing anything again.

CREATE FUNCTION wf_step(
    name    text,
    target  text,
    input   jsonb    DEFAULT '{}',
    timeout interval DEFAULT NULL,
    retry   jsonb    DEFAULT NULL,
    total_timeout interval DEFAULT NULL,
    cache_key text   DEFAULT NULL,
    cache_ttl interval DEFAULT NULL,
    transactional boolean DEFAULT true,
    queue    text    DEFAULT NULL,
    key      text    DEFAULT NULL
) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_step';
COMMENT ON FUNCTION wf_step(text, text, jsonb, interval, jsonb, interval, text, interval, boolean, text, text) IS
'Runs a step once: its effects and its result commit together. target: name of a function or procedure (arguments by name from the keys of input; one jsonb parameter takes all of it), or SQL with input as $1. Returns to_jsonb of the result; a set as an array; of SQL, rows as an array (of values if there is one column, else of objects) and otherwise the number of rows changed. retry: {"max_attempts": 5, "first_delay": "1s", "backoff": 2, "max_delay": "1 min", "jitter": 0.1, "retry_on": ["40*"], "no_retry_on": []}; without it transient errors only are retried. timeout: of one attempt. total_timeout: of all attempts, the waits between them included. cache_key: takes the result that another step of the same owner has stored under this key, if there is one, instead of running; otherwise stores its own, for cache_ttl, or until wf_cache_forget. transactional => false: for what cannot run in a transaction block or commits by itself (VACUUM, CREATE INDEX CONCURRENTLY, a procedure with COMMIT): a command of its own at top level, run by a background worker, at least once; of SQL without rows and numbers the result is the kind of command. queue: an attempt is made when the limits of that queue (wf_queue) let it, by any executor; key: for whom, where the queue is shared by turns. Raises the step''s own error when it has failed for good, WF004 when it timed out, WF007 when it is not transactional and the process of its last attempt was lost, WF002 when the instance was cancelled, WF009 when the queue is full.';

CREATE PROCEDURE wf_step(
    name    text,
    target  text,
    input   jsonb,
    INOUT result jsonb,
    retry   jsonb    DEFAULT NULL,
    timeout interval DEFAULT NULL,
    total_timeout interval DEFAULT NULL,
    cache_key text   DEFAULT NULL,
    cache_ttl interval DEFAULT NULL,
    transactional boolean DEFAULT true,
    queue    text    DEFAULT NULL,
    key      text    DEFAULT NULL
)
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_step_procedure';
COMMENT ON PROCEDURE wf_step(text, text, jsonb, jsonb, jsonb, interval, interval, text, interval, boolean, text, text) IS
'As the function wf_step, with the result in a variable, for workflows that are procedures: CALL wf_step(name, target, input, result). Where it may commit (outside of blocks with an EXCEPTION clause) the step runs where it is called, and costs the same however many came before.';

CREATE FUNCTION wf_sleep(duration interval, name text DEFAULT 'sleep') RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_sleep';
COMMENT ON FUNCTION wf_sleep(interval, text) IS
'Waits for a time, without a process, a lock or a snapshot. Raises WF002 when the instance is cancelled.';

CREATE FUNCTION wf_sleep_until(at timestamptz, name text DEFAULT 'sleep') RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_sleep_until';
COMMENT ON FUNCTION wf_sleep_until(timestamptz, text) IS
'Waits until a time, as wf_sleep; a time in the past does not wait. Take the time from wf_now() or a step, not from now(): only the first call''s value counts.';

CREATE FUNCTION wf_wait_signal(
    name      text,
    timeout   interval DEFAULT NULL,
    prompt    text     DEFAULT NULL,
    schema    jsonb    DEFAULT NULL,
    "default" jsonb    DEFAULT NULL
) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_wait_signal';
COMMENT ON FUNCTION wf_wait_signal(text, interval, text, jsonb, jsonb) IS
'Takes the oldest signal of this name, waiting for one if there is none. Returns its payload, or the default (NULL) if the timeout passed first. schema: JSON Schema that the payload must fit: wf_signal refuses one that does not while the wait is open; one that was sent before is set aside, and the wait goes on. prompt: what is asked, for wf.waiting. Raises WF002 when the instance is cancelled, 22023 for a malformed schema.';

CREATE PROCEDURE wf_wait_signal(
    name      text,
    timeout   interval,
    INOUT payload jsonb,
    prompt    text     DEFAULT NULL,
    schema    jsonb    DEFAULT NULL,
    "default" jsonb    DEFAULT NULL
)
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_wait_signal_procedure';
COMMENT ON PROCEDURE wf_wait_signal(text, interval, jsonb, text, jsonb, jsonb) IS
'As the function wf_wait_signal, with the payload in a variable, for workflows that are procedures: CALL wf_wait_signal(name, NULL, payload) waits without a limit. Where it may commit, a signal that is there is taken without a replay.';

CREATE FUNCTION wf_set(name text, value jsonb) RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_set';
COMMENT ON FUNCTION wf_set(text, jsonb) IS
'Publishes a value of the instance for readers outside (wf_get(id, name), wf.workflows): progress, links, numbers. It is visible with the next step, wait or end.';

CREATE FUNCTION wf_now() RETURNS timestamptz
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_now';
COMMENT ON FUNCTION wf_now() IS 'The time at the first passage, recorded.';

CREATE FUNCTION wf_random() RETURNS double precision
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_random';
COMMENT ON FUNCTION wf_random() IS 'A random number in [0, 1), recorded.';

CREATE FUNCTION wf_uuid() RETURNS uuid
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_uuid';
COMMENT ON FUNCTION wf_uuid() IS 'A random UUID, recorded: an idempotency key for the world outside.';
