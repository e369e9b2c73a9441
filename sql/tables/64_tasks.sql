-- Work for workers outside of the server. A call of a workflow (wf_task) is a row here; a worker claims it with a lease and
-- says how it has ended, which is the call's answer.

-- A queue belongs to the role whose instances put tasks into it: two roles may have queues of one name. Made by wf_queue, or
-- by the first task. Claims lock the row if it has a limit, and only then.
CREATE TABLE wf_internal.queues (
    filled_at   timestamptz NOT NULL,           -- when there were so many tokens
    tokens      double precision,               -- of the bucket; NULL without a rate
    per         bigint,                         -- microseconds
    queue_id    integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner       regrole     NOT NULL,
    max_running integer,                        -- tasks leased at a time; NULL: any number
    rate        integer,                        -- tasks claimed in each "per"; NULL: any number
    paused      boolean     NOT NULL DEFAULT false,
    name        text        NOT NULL,
    workers     regrole[]   NOT NULL DEFAULT '{}', -- who may claim, beside the owner
    UNIQUE (name, owner)
);
COMMENT ON TABLE wf_internal.queues IS 'queues of tasks';

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
    worker      text,                           -- as it calls itself
    details     jsonb,                          -- of the last heartbeat
    error       jsonb,                          -- of the last attempt that has failed
    PRIMARY KEY (run_id, n)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE wf_internal.tasks IS 'calls that workers outside of the server answer';

-- Tasks that wait and tasks that run; others are not here. The primary key is exactly the claim's WHERE and ORDER BY, and
-- serves the number of those that run. A row whose task has ended meanwhile is swept by the claim that meets it.
CREATE TABLE wf_internal.task_queue (
    seq         bigint      GENERATED ALWAYS AS IDENTITY,
    run_id      uuid        NOT NULL,
    n           integer     NOT NULL,
    queue_id    integer     NOT NULL,
    priority    smallint    NOT NULL,
    running     boolean     NOT NULL,
    PRIMARY KEY (queue_id, running, priority, seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE wf_internal.task_queue IS 'tasks that wait to be claimed, and those that run';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.queues', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.queues_queue_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.tasks', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.task_queue', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.task_queue_seq_seq', '');
