SET LOCAL search_path = pg_catalog, pg_temp;
-- What is not to run for now: one run, the runs of a workflow, or all. A turn that finds its run paused leaves a row in
-- parked in place of its hint in ready; whoever lifts the pause moves those rows back. So a paused run costs no look, and
-- where nothing is paused nothing is asked: executors remember the pauses and read them again only when a number in shared
-- memory says that they have changed.
CREATE TABLE wf_internal.pauses (
    pause_id    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    paused_at   timestamptz NOT NULL,
    run_id      uuid,                           -- of this run only
    owner       regrole,                        -- of runs of this role; NULL: of every role
    workflow    text,                           -- of this workflow; NULL: of every workflow
    paused_by   regrole     NOT NULL,
    reason      text,
    waiting_for text        NOT NULL            -- in words, for wf.workflows
);
-- One pause a scope. The first also serves "is this run paused".
CREATE UNIQUE INDEX pauses_run ON wf_internal.pauses (run_id) WHERE run_id IS NOT NULL;
CREATE UNIQUE INDEX pauses_wide ON wf_internal.pauses ((coalesce(owner::oid, 0)), (coalesce(workflow, '')))
    WHERE run_id IS NULL;
COMMENT ON TABLE wf_internal.pauses IS 'instances that are not to run for now';

-- Invariant: a row is inserted under a lock of its pause (FOR KEY SHARE), and a pause is deleted before its rows are looked
-- for. So whoever lifts a pause sees every row that was left under it.
CREATE TABLE wf_internal.parked (
    pause_id    bigint      NOT NULL,
    run_id      uuid        NOT NULL,
    n           integer     NOT NULL,           -- of a branch; 0: the run itself
    item        integer     NOT NULL,
    owner       regrole     NOT NULL,
    priority    smallint    NOT NULL,
    PRIMARY KEY (pause_id, run_id, n, item)
);
COMMENT ON TABLE wf_internal.parked IS 'runs that would be ready for a turn if they were not paused';

-- Who has done what to instances, written in the transaction that does it. A record: nothing is decided by it.
CREATE TABLE wf_internal.actions (
    at          timestamptz NOT NULL,
    seq         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      uuid,                           -- NULL: it concerned more than one instance
    by          regrole     NOT NULL,
    owner       regrole     NOT NULL,           -- of the instance, else who has done it: may see the row
    action      text        NOT NULL,
    id          text,
    reason      text,
    detail      jsonb
);
-- What was done to one run, in its timeline.
CREATE INDEX actions_run ON wf_internal.actions (run_id, seq) WHERE run_id IS NOT NULL;
COMMENT ON TABLE wf_internal.actions IS 'what operators have done to instances';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.pauses', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.pauses_pause_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.parked', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.actions', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.actions_seq_seq', '');
