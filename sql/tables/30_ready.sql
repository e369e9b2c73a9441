SET LOCAL search_path = pg_catalog, pg_temp;
-- Runs that are ready for a turn. Whoever makes a run ready inserts a row in its own transaction; an executor locks the
-- row (FOR UPDATE SKIP LOCKED), takes the turn and deletes the row in the same transaction. A crash frees the lock and
-- keeps the row: no claim is ever written down, none has to be taken back.
-- Rows are hints: a run may have several; a turn that finds nothing new ends at once.
-- The primary key is exactly the claim's WHERE and ORDER BY, and the only index. Lower priority numbers go first.
--
-- Autovacuum, here and in the other tables whose rows come and go (timers, answers, controls, task_queue): after a number of
-- dead rows, since what lives says nothing about how much has been through; without pauses, since dead rows at the head of
-- the queue are in the way and the table is small; and without giving pages back to the file system, for which it would lock
-- the table to take them again a moment later.
CREATE TABLE wf_internal.ready (
    owner       regrole     NOT NULL,
    priority    smallint    NOT NULL,
    seq         bigint      GENERATED ALWAYS AS IDENTITY,
    run_id      uuid        NOT NULL,
    n           integer,                        -- of a branch; NULL: the run itself
    item        integer,
    PRIMARY KEY (owner, priority, seq, run_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
COMMENT ON TABLE wf_internal.ready IS 'queue of runs that are ready for a turn';

-- What happens later: starts with a delay, sleeps, timeouts, retries, deadlines. The scheduler moves due rows to ready,
-- so that a million sleepers do not lie in the way of a claim.
CREATE TABLE wf_internal.timers (
    due_at      timestamptz NOT NULL,
    run_id      uuid        NOT NULL,
    n           integer     NOT NULL,           -- the step; 0: the run's deadline; -1: its delayed start; -2: its start_by; -3: a schedule
    item        integer     NOT NULL,           -- of a branch; 0: the run itself
    owner       regrole     NOT NULL,
    priority    smallint    NOT NULL,
    PRIMARY KEY (due_at, run_id, n, item)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
COMMENT ON TABLE wf_internal.timers IS 'runs that become ready at a time';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.ready', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.ready_seq_seq', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.timers', '');
