SET LOCAL search_path = @extschema@, pg_temp;
-- How long what has ended is kept.

CREATE FUNCTION wf_retention(
    workflow    text     DEFAULT NULL,
    completed   interval DEFAULT NULL,
    failed      interval DEFAULT NULL
) RETURNS boolean
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_retention';
COMMENT ON FUNCTION wf_retention(text, interval, interval) IS
'Says how long instances are kept after their end before they are removed in the background, instead of pg_workflow.retention: those of a workflow, or of every workflow (NULL); of the current user, or of every role if it is a superuser. completed: those that have completed. failed: those that have failed or were cancelled; NULL: as completed. A month counts 30 days. Of several rules the one for the workflow counts before that for every workflow, and then the role''s own before the one for every role. With neither completed nor failed the rule is taken away; returns false if there was none. Errors: 42883 unknown workflow, 22023 an interval that is negative.';
