SET LOCAL search_path = pg_catalog, pg_temp;
-- Work for workers outside of the server, and queues of it. A call of a workflow (wf_task) is a row here; a worker claims it
-- with a lease and says how it has ended, which is the call's answer.

-- A queue belongs to the role whose instances put something into it: two roles may have queues of one name. Made by wf_queue,
-- or by what is first put into it. Whoever serves it locks the row if it has a limit or keys, and only then.
CREATE TABLE wf_internal.queues (
    filled_at   timestamptz NOT NULL,           -- when there were so many tokens
    serve_at    timestamptz,                    -- the last timer that was set for it: see ready
    tokens      double precision,               -- of the bucket; NULL without a rate
    per         bigint,                         -- microseconds
    queue_id    integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner       regrole     NOT NULL,
    max_running integer,                        -- at a time; NULL: any number
    max_running_per_key integer,                -- of those with one key; NULL: any number
    rate        integer,                        -- begun in each "per"; NULL: any number
    max_backlog integer,                        -- waiting; NULL: any number
    drops_oldest boolean    NOT NULL DEFAULT false, -- when the backlog is full; else the new one is rejected
    paused      boolean     NOT NULL DEFAULT false,
    notifies    boolean     NOT NULL DEFAULT false, -- workers LISTEN
    name        text        NOT NULL,
    last_key    text        COLLATE "C" NOT NULL DEFAULT '', -- served last: the next one's turn comes
    workers     regrole[]   NOT NULL DEFAULT '{}', -- who may claim, beside the owner
    UNIQUE (name, owner)
);
COMMENT ON TABLE wf_internal.queues IS 'queues of tasks, steps and runs';

-- A task, open or done. Written under its row lock, by its worker or by an executor; the run's own row is not needed. Its
-- input lies in the call's request. status stands in no index, so that updates are HOT.
CREATE TABLE wf_internal.tasks (
    created_at  timestamptz NOT NULL,
    queued_at   timestamptz NOT NULL,           -- while retrying: when it will be
    started_at  timestamptz,                    -- of the last attempt
    finished_at timestamptz,
    lease_until timestamptz,                    -- while running
    timer_at    timestamptz,                    -- while open: its row in timers, which may come before something is due
    seq         bigint      NOT NULL,           -- its row in task_queue, while waiting or running
    lease_time  bigint,                         -- microseconds; what a heartbeat extends it by
    run_id      uuid        NOT NULL,
    n           integer     NOT NULL,           -- the run's call
    queue_id    integer     NOT NULL,
    owner       regrole     NOT NULL,
    worker_role regrole,                        -- of the last attempt
    attempt     integer     NOT NULL,           -- attempts begun
    priority    smallint    NOT NULL,
    lease       uuid,                           -- of the last attempt: who knows it has the task
    status      text        NOT NULL,           -- waiting, running, retrying, completed, failed, cancelled
    key         text        COLLATE "C" NOT NULL, -- in its queue; '': none
    worker      text,                           -- as it calls itself
    details     jsonb,                          -- of the last heartbeat
    error       jsonb,                          -- of the last attempt that has failed
    PRIMARY KEY (run_id, n)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);
COMMENT ON TABLE wf_internal.tasks IS 'calls that workers outside of the server answer';

-- Places in queues: what waits and what runs; others are not here. The primary key is exactly the WHERE and ORDER BY of those
-- who serve the queue, and leads from one key to the next; it serves the number of those that run. Tasks are claimed by
-- workers; steps and runs, which are "inside", are admitted by executors. A row whose task has ended meanwhile is swept by the
-- claim that meets it.
CREATE TABLE wf_internal.task_queue (
    queued_at   timestamptz NOT NULL,
    seq         bigint      GENERATED ALWAYS AS IDENTITY,
    run_id      uuid        NOT NULL,
    n           integer     NOT NULL,           -- the run's call; 0: the run itself
    item        integer     NOT NULL,           -- of the branch, if it is a step; else 0
    queue_id    integer     NOT NULL,
    priority    smallint    NOT NULL,
    running     boolean     NOT NULL,
    inside      boolean     NOT NULL,
    key         text        COLLATE "C" NOT NULL, -- '': none
    PRIMARY KEY (queue_id, running, inside, priority, key, seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
COMMENT ON TABLE wf_internal.task_queue IS 'tasks, steps and runs that wait in queues, and those that run';

-- How many of a key run.
CREATE INDEX task_queue_keys ON wf_internal.task_queue (queue_id, key) WHERE running AND key <> '';
-- The place of a step or run: tasks know theirs.
CREATE UNIQUE INDEX task_queue_units ON wf_internal.task_queue (run_id, n, item) WHERE inside;

-- What is open in a queue under a key for duplicates: another one of that key is not queued.
CREATE TABLE wf_internal.dedup (
    run_id      uuid        NOT NULL,
    n           integer     NOT NULL,           -- the run's call; 0: the run itself
    queue_id    integer     NOT NULL,
    joined      integer     NOT NULL DEFAULT 0, -- counted up by each that joins, which so waits for its end or is seen by it
    inside      boolean     NOT NULL,
    key         text        COLLATE "C" NOT NULL,
    PRIMARY KEY (queue_id, inside, key)
);
COMMENT ON TABLE wf_internal.dedup IS 'what is open in queues, by its key for duplicates';

-- Calls that wait for the task of another call, which has their key for duplicates.
CREATE TABLE wf_internal.joined (
    seq         bigint      GENERATED ALWAYS AS IDENTITY,
    run_id      uuid        NOT NULL,
    n           integer     NOT NULL,
    queue_id    integer     NOT NULL,
    priority    smallint    NOT NULL,
    key         text        COLLATE "C" NOT NULL,
    PRIMARY KEY (run_id, n)
);
CREATE INDEX joined_keys ON wf_internal.joined (queue_id, key, seq);
COMMENT ON TABLE wf_internal.joined IS 'calls that wait for the task of another call';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.queues', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.queues_queue_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.tasks', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.task_queue', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.task_queue_seq_seq', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.dedup', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.joined', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.joined_seq_seq', '');
