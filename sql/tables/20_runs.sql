SET LOCAL search_path = pg_catalog, pg_temp;
-- One row a run. An id names a line of runs (seq 1, 2, ...), of which at most the last is open.
-- Invariant: after the insert only the executor that holds the row's lock writes it (one writer a run); whoever else
-- wants something of a run inserts a row elsewhere (signals, controls, ready). So a client never waits for a step.
-- No CHECK: Postgres reads its expression anew for each statement, which cost more than the insert; only the engine
-- writes here. status stands in no index and the page has room for a second version of each row (fillfactor), so that its updates are HOT.
--
-- Autovacuum, here and in the other tables that a purge takes from (steps, branches, signals, tasks): room is made for new rows
-- when 2 % have been removed, 3 hours' worth of a week. Not sooner, since each vacuum reads all of the indexes. It may do ten
-- times as much between two pauses as by default, or it would fall behind a purge at full load.
CREATE TABLE wf_internal.runs (
    created_at  timestamptz NOT NULL,
    started_at  timestamptz,                    -- first turn
    finished_at timestamptz,
    start_at    timestamptz,                    -- not before; has a row in timers (n = -1)
    start_by    timestamptz,                    -- the first turn; has a row in timers (n = -2) until then
    deadline    timestamptz,                    -- of the whole run; has a row in timers (n = 0) while the run is open
    run_id      uuid        NOT NULL,           -- UUIDv7
    seq         integer     NOT NULL,
    def_id      integer     NOT NULL,
    owner       regrole     NOT NULL,           -- user code runs as this role and no other
    priority    smallint    NOT NULL,
    depth       smallint    NOT NULL,           -- parents above it
    parent_n    integer,                        -- the parent's call that waits for it,
    parent_item integer,                        -- the item, if that is a map
    status      text        NOT NULL,           -- pending, running, waiting, compensating, completed, failed, cancelled, continued
    id          text        NOT NULL,
    input       jsonb       NOT NULL,
    parent_run_id uuid,                         -- the run that has started it as its child
    waiting_for text,                           -- in words, while status is waiting or compensating
    result      jsonb,
    error       jsonb,                          -- sqlstate, message, detail, hint, context, compensated
    queue       jsonb,                          -- the queue that it takes its turn in: id, key, dedup; NULL: none
    trace       text,                           -- W3C traceparent that it was started with; NULL: none
    PRIMARY KEY (run_id),
    UNIQUE (id, seq)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);
COMMENT ON TABLE wf_internal.runs IS 'workflow instances: one row a run';

-- The durable history of a run: what a replay answers from. One row for each recorded call, in order.
-- A step that succeeds at once is inserted once; one that waits or retries is inserted open and updated.
CREATE TABLE wf_internal.steps (
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    due_at      timestamptz,                    -- while open: when the sleep, wait or retry falls due; has a row in timers
    run_id      uuid        NOT NULL,
    n           integer     NOT NULL,           -- position in the history, from 1
    occurrence  integer     NOT NULL,           -- of this kind and name, from 1: a loop calls the same name again
    attempt     integer     NOT NULL,           -- attempts made; not a history of them
    begun       boolean     NOT NULL,           -- by wf_begin: the function goes on and asks for the answer later
    kind        text        NOT NULL,           -- step, sleep, signal, child, map, task, await, compensation, rollback, value, set, emit
    status      text        NOT NULL,           -- registered, waiting, retrying, completed, failed, cancelled
    name        text        NOT NULL,
    request     jsonb,                          -- what was asked for, where an open call needs it without its function
    result      jsonb,
    error       jsonb,                          -- of the last attempt
    PRIMARY KEY (run_id, n)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);
COMMENT ON TABLE wf_internal.steps IS 'recorded steps, waits and values of each run';

-- Serves "the children of a run": for the eye, and to be told of its end. Runs without a parent are not in it.
CREATE INDEX runs_children ON wf_internal.runs (parent_run_id) WHERE parent_run_id IS NOT NULL;

-- Serves "what has failed", however much has ended well: runs without an error are not in it. Its columns are none that the end
-- of a run changes, error excepted, which stays NULL where that is good: so that update is still HOT.
CREATE INDEX runs_failed ON wf_internal.runs (run_id) WHERE error IS NOT NULL;

-- Units of work of one run that run beside it: a step begun by wf_begin or that is not transactional (item 1), the items of a map. Each is locked, run
-- and written by any executor of the owner, while the run's own row stays free. The run has them in its history as one
-- call (steps.n), which counts what answers say; their results stay here.
CREATE TABLE wf_internal.branches (
    started_at  timestamptz,
    finished_at timestamptz,
    due_at      timestamptz,                    -- while retrying; has a row in timers
    run_id      uuid        NOT NULL,
    n           integer     NOT NULL,           -- the run's call
    item        integer     NOT NULL,           -- from 1
    attempt     integer     NOT NULL,           -- attempts made
    status      text        NOT NULL,           -- pending, running (in no transaction), retrying, completed, failed, cancelled
    input       jsonb,                          -- the item; NULL for a begun step, whose request has it
    result      jsonb,
    error       jsonb,
    PRIMARY KEY (run_id, n, item)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);
COMMENT ON TABLE wf_internal.branches IS 'steps and items of maps that run side by side';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.branches', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.runs', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.steps', '');
