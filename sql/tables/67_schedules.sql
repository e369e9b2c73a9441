SET LOCAL search_path = pg_catalog, pg_temp;
-- What starts a workflow again and again, or once, at its times ("ticks"). One tick is kept ahead, as a row in timers whose
-- run_id is the schedule's and whose n is -3; the scheduler moves it to ready, and an executor of the owner acts on it under
-- the row's lock: it inserts the run and sets the next tick in one transaction, so that no crash and no second process makes
-- two runs of a tick, or none. The runs have the schedule as parent_run_id, with parent_n = -3: their end tells it.
CREATE TABLE wf_internal.schedules (
    created_at  timestamptz NOT NULL,
    starts_at   timestamptz,                    -- no tick before it
    ends_at     timestamptz,                    -- nor behind it
    after_at    timestamptz NOT NULL,           -- ticks up to here are dealt with
    next_at     timestamptz,                    -- the first tick behind it; NULL: none is known
    timer_at    timestamptz,                    -- its row in timers, which jitter puts off
    queued_at   timestamptz,                    -- a tick that waits for the end of an open run
    asked_at    timestamptz,                    -- to be run once beside its ticks (wf_schedule_run)
    last_tick   timestamptz,                    -- the last one that has started a run,
    fired_at    timestamptz,                    -- when,
    fired_due   timestamptz,                    -- and when it should have
    failed_at   timestamptz,                    -- of error
    jitter      bigint      NOT NULL,           -- microseconds
    catch_up_window bigint,                     -- microseconds; NULL: any time
    fired       bigint      NOT NULL DEFAULT 0, -- ticks that have started a run,
    missed      bigint      NOT NULL DEFAULT 0, -- that were passed over since nobody looked at their time,
    skipped     bigint      NOT NULL DEFAULT 0, -- that fell into an open run,
    failed      bigint      NOT NULL DEFAULT 0, -- whose run could not be started
    schedule_id uuid        NOT NULL,
    owner       regrole     NOT NULL,           -- its runs are this role's
    failures    integer     NOT NULL DEFAULT 0, -- of its query, in a row
    paused      boolean     NOT NULL,
    name        text        NOT NULL,
    schedule    text        NOT NULL,
    time_zone   text        NOT NULL,
    workflow    text,                           -- to be started; NULL: command is
    command     text,                           -- SQL, which a workflow of one step runs
    search_path text        NOT NULL,           -- of the session that has named them
    overlap     text        NOT NULL,           -- skip, queue_one, allow, cancel
    catch_up    text        NOT NULL,           -- none, last, all
    last_id     text,                           -- the last instance
    open_ids    text[]      NOT NULL DEFAULT '{}', -- instances that were open when it was last looked at
    input       jsonb       NOT NULL,
    options     jsonb       NOT NULL,           -- of a start: priority, timeout, retry, transactional, time_key
    error       jsonb,                          -- the last
    PRIMARY KEY (schedule_id),
    UNIQUE (name, owner)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE wf_internal.schedules IS 'schedules, with what has become of their ticks';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.schedules', '');
