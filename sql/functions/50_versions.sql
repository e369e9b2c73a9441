SET LOCAL search_path = @extschema@, pg_temp;
-- Versions of the code of workflows, and the removal of what has ended.

CREATE FUNCTION wf_upgrade(id text) RETURNS integer
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_upgrade';
COMMENT ON FUNCTION wf_upgrade(text) IS
'Moves the open run of an id to the code that its workflow has now, if its history replays on it. Nothing is acted upon. Returns the version that it is on now. Needs: a session that is connected as the owner. Errors: WF001 the history does not replay on the new code (the DETAIL says where they part), 55006 a process is at the run, 55000 the run has ended, 42883 the workflow''s function is gone, 42704 unknown id, 42501 not connected as the owner.';

CREATE FUNCTION wf_internal.replay_check(workflow text, function text, max integer) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_replay_check';
COMMENT ON FUNCTION wf_internal.replay_check(text, text, integer) IS 'behind wf_replay_check: its rows as an array of objects';

-- Parsed here and now: its callers have no USAGE on wf_internal.
CREATE FUNCTION wf_replay_check(workflow text, function text DEFAULT NULL, max integer DEFAULT 1000)
    RETURNS TABLE (id text, version integer, ok boolean, outcome text, expected text, found text)
    LANGUAGE sql
BEGIN ATOMIC
    SELECT t.id, t.version, t.ok, t.outcome, t.expected, t.found
    FROM pg_catalog.jsonb_to_recordset(wf_internal.replay_check($1, $2, $3))
         AS t(id text, version integer, ok boolean, outcome text, expected text, found text);
END;
COMMENT ON FUNCTION wf_replay_check(text, text, integer) IS
'Replays the current user''s in-flight instances of a workflow on the code that it has now, or on another function with the same arguments, and writes nothing. max: at most so many, the newest ones. One row an instance: the version it is on, whether it could go on with that code, what it would come to, and where history and code part: the recorded call that was expected, and what was found instead. Needs: a session that is connected as the current user. Errors: 42883 unknown workflow or function, 42501 not connected as the current user, 22023 wrong max.';

CREATE FUNCTION wf_purge(older_than interval, workflow text DEFAULT NULL, max integer DEFAULT 10000) RETURNS integer
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_purge';
COMMENT ON FUNCTION wf_purge(interval, text, integer) IS
'Removes finished instances whose end is longer ago than older_than (a month counts 30 days), of the roles whose privileges you have (an operator: of all), with their steps and signals; of one workflow, or of all. max: at most so many runs in this call, the oldest first; call it again, in another transaction, until it returns 0. Also removes old versions of code that no instance needs any more. Returns the number of runs removed. Errors: 22023 wrong argument, 25000 in a transaction that is not READ COMMITTED.';

CREATE FUNCTION wf_internal.is_current(schema_name text, proc_name text, proc_args text, source_md5 text) RETURNS boolean
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'wf_is_current';
COMMENT ON FUNCTION wf_internal.is_current(text, text, text, text) IS 'is this version of a function what the function is now; behind wf.definitions';
