SET LOCAL search_path = pg_catalog, pg_temp;
-- Waits for signals that are open: what is waited for, until when, and what the answer must be like. Inserted where a wait
-- begins and deleted where it ends, both by the executor that holds the run's lock: so the table is as large as what is
-- waited for now, however many runs have ended. Whoever sends a signal finds here what it must fit.
CREATE TABLE wf_internal.waits (
    since       timestamptz NOT NULL,
    due_at      timestamptz,
    run_id      uuid        NOT NULL,
    n           integer     NOT NULL,           -- the wait (steps.n)
    name        text        NOT NULL,           -- of the signal
    prompt      text,                           -- for the person who answers
    schema      jsonb,                          -- JSON Schema that the payload must fit
    "default"   jsonb,                          -- the answer when the time is over
    PRIMARY KEY (run_id, n)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500);
COMMENT ON TABLE wf_internal.waits IS 'open waits for signals';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.waits', '');
