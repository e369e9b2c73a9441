SET LOCAL search_path = @extschema@, pg_temp;
-- The cache of steps: see the cache_key of wf_step.

CREATE FUNCTION wf_cache_forget(key text) RETURNS bigint
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_cache_forget';
COMMENT ON FUNCTION wf_cache_forget(text) IS
'Removes the result that steps of the current user have stored under a cache_key; with NULL, all of them. Waits for steps that store one just now. Takes effect with the caller''s transaction; until that ends, no step stores a new one. Returns how many there were. Errors: 22023 empty key, 55000 called inside a workflow: call it in a step.';
