SET LOCAL search_path = @extschema@, pg_temp;
-- Functions that control instances. All take effect with the caller's transaction, and not at all if it rolls back.
-- '' stands for "not given": an id that happens to be NULL must not mean everything.

CREATE FUNCTION wf_pause(id text DEFAULT '', workflow text DEFAULT '', reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_pause';
COMMENT ON FUNCTION wf_pause(text, text, text) IS
'Pauses the open run of an id; or the instances of a workflow, also those that are started later; or, with neither, all instances. A workflow or all: those of the current user, or of every role if it is a superuser or operator (wf_grant). A step that runs goes on to its end, and no other is begun. Timers and signals are kept until wf_resume. A cancel is delivered all the same; a deadline goes on. Returns false if that was paused already, or the run has ended. Errors: 42704 unknown id, 42883 unknown workflow, 42501 not yours, 22004 id or workflow is NULL.';

CREATE FUNCTION wf_resume(id text DEFAULT '', workflow text DEFAULT '', reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_resume';
COMMENT ON FUNCTION wf_resume(text, text, text) IS
'Lifts what wf_pause has set with the same id, workflow or neither; an instance goes on when no pause is left on it. What fell due or arrived meanwhile is found then. Returns false if there was no such pause. Errors: 42704 unknown id, 42501 not yours, 25000 in a transaction that is not READ COMMITTED.';

CREATE FUNCTION wf_step(id text) RETURNS jsonb
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'wf_step_single';
COMMENT ON FUNCTION wf_step(text) IS
'Takes one step of a paused instance in this session and transaction, and returns what it was: call (n, kind, name, status, attempt, result, error of the recorded call, or null), status, waiting_for, result and error of the instance. Rolled back, it has not happened. Needs: a session that is connected as the instance''s owner. Errors: 42704 unknown id, 42501 not its owner, 55000 not paused or ended, 55006 a process is at it.';

CREATE FUNCTION wf_retry(id text, reason text DEFAULT NULL) RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_retry';
COMMENT ON FUNCTION wf_retry(text, text) IS
'Has the last run of an id go on that has failed or was cancelled: its last recorded call, if it failed or was cancelled, is made again; then, or if it failed in its own code, the function goes on. Of a map only the items that are not done are done again; a child that has failed goes on itself; so does a begun step whose error has ended the run. On the same code. A deadline that has passed is set anew. Errors: 42704 unknown id, 42501 not yours, 55000 it has completed, has not ended, or has undone what it had done (wf_compensate).';

CREATE FUNCTION wf_complete_step(id text, step text, result jsonb DEFAULT 'null', reason text DEFAULT NULL) RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_complete_step';
COMMENT ON FUNCTION wf_complete_step(text, text, jsonb, text) IS
'Answers a call of an instance by hand: the open one of this name (a step that is tried again, a wait, a map, a child, a task), or the one that the last run has failed at, which then goes on. result: what the function gets. What the call would have done is not done; a child or a task that is at work is told that nobody waits for it. Recorded in wf.actions. Errors: 42704 unknown id, 42501 not yours, 55000 no open call of this name, 55006 a process is at the instance: try again, 54000 result too large.';

CREATE FUNCTION wf_skip(id text, reason text DEFAULT NULL) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_skip';
COMMENT ON FUNCTION wf_skip(text, text) IS
'As wf_complete_step, for the call that the instance stands at, or has failed at, with the result null. Returns the call''s name. Errors: as wf_complete_step.';

CREATE FUNCTION wf_fork(
    id       text,
    step     text,
    new_id   text    DEFAULT NULL,
    input    jsonb   DEFAULT NULL,
    newest   boolean DEFAULT false
) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_fork_step';
COMMENT ON FUNCTION wf_fork(text, text, text, jsonb, boolean) IS
'Starts a new instance that has the history of the open or last run of an id up to a step, and goes on from there, of the same owner. step: its name; of several the last. new_id: chosen by you or made. input: another than the original''s. newest: on the function as it is now instead of the version that the original runs on. The original is not touched; calls that are open are not taken along, and the history is cut there. Returns the new id. Errors: 42704 unknown id or step, 42710 new_id in use, 42501 not yours, 42883 function is gone, 22023 input that does not fit.';

CREATE FUNCTION wf_fork(
    id       text,
    n        integer,
    new_id   text    DEFAULT NULL,
    input    jsonb   DEFAULT NULL,
    newest   boolean DEFAULT false
) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_fork_n';
COMMENT ON FUNCTION wf_fork(text, integer, text, jsonb, boolean) IS
'As wf_fork by name, up to (and not including) the recorded call with number n, as in wf.steps.';
