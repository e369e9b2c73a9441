SET LOCAL search_path = pg_catalog, pg_temp;
-- Results of steps that other steps of the same owner may take for theirs: see the cache_key of wf_step.
-- Whoever writes here holds a lock that it has got without waiting (cache_lock.sql), so no step waits for another's entry.
CREATE TABLE wf_internal.cache (
    stored_at   timestamptz NOT NULL,
    expires_at  timestamptz,                    -- NULL: stays until it is forgotten
    owner       regrole     NOT NULL,
    key         text        NOT NULL,
    result      jsonb,
    PRIMARY KEY (owner, key)
);
CREATE INDEX cache_expiry ON wf_internal.cache (owner, expires_at) WHERE expires_at IS NOT NULL;
COMMENT ON TABLE wf_internal.cache IS 'cached results of steps';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.cache', '');
