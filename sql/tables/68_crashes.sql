SET LOCAL search_path = pg_catalog, pg_temp;
-- Runs (and schedules) that a process was at when it crashed. A row stays until the run ends or is resumed; there are few. Who
-- counts is the scheduler, before it has executors run anything.
CREATE TABLE wf_internal.crashes (
    last_at     timestamptz NOT NULL,
    until       timestamptz,                    -- how long its pause lasts; NULL: until it is resumed
    calls       bigint      NOT NULL,           -- how far it had come: calls recorded,
    attempts    bigint      NOT NULL,           -- and attempts made of them
    pause_id    bigint,                         -- what holds it; NULL: nothing, or the pause of somebody else
    run_id      uuid        PRIMARY KEY,        -- or schedule_id
    owner       regrole     NOT NULL,
    times       integer     NOT NULL,           -- without getting any further
    step        text        NOT NULL            -- '': code outside of steps
);
COMMENT ON TABLE wf_internal.crashes IS 'runs that a process was at when it crashed';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.crashes', '');
