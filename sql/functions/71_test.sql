SET LOCAL search_path = @extschema@, pg_temp;
-- Tests of workflows: a run from its beginning to its end, of which nothing stays.

CREATE FUNCTION wf_test(
    workflow     text,
    input        jsonb       DEFAULT '{}',
    signals      jsonb       DEFAULT '[]',
    mocks        jsonb       DEFAULT '{}',
    until        interval    DEFAULT NULL,
    cancel_after interval    DEFAULT NULL,
    starts_at    timestamptz DEFAULT NULL,
    max_turns    integer     DEFAULT 1000
) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_test';
COMMENT ON FUNCTION wf_test(text, jsonb, jsonb, jsonb, interval, interval, timestamptz, integer) IS
'Runs a workflow to its end in this transaction, on a simulated clock on which no wait takes time, returns what has happened, and takes all of it back. signals: [{"name": "approval", "payload": {}, "after": "2 days"}], sent at that simulated time. mocks, by name of the step or task: {"charge": {"result": {}}} answers without running it, {"charge": {"fail": {"sqlstate": "40001", "message": "", "detail": "", "hint": ""}, "times": 2}} makes its first attempts fail; an array has one for each occurrence (null: run it). until: simulated time after which to stop. cancel_after: simulated time at which the instance is cancelled. starts_at: the simulated time at which it begins (default: the present). max_turns: limit for turns and attempts of steps. Returns {"workflow", "status", "result" or "error", "waiting_for" if it has not ended, "took", "steps": [{"name", "kind", "status", "attempt", "at", "result" or "error"}], "values", "streams", "started", "unused"}. An error of the workflow is part of the result. Needs: a session connected as the current user. Errors: as wf_start; 22023 wrong signals or mocks, 54000 no end within max_turns, 42501 not connected as the current user, 55000 in a workflow or a step.';
