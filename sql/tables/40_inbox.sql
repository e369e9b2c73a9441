SET LOCAL search_path = pg_catalog, pg_temp;
-- Signals sent to a run, kept until a wait consumes them and after it for the eye and against duplicates.
CREATE TABLE wf_internal.signals (
    sent_at     timestamptz NOT NULL,
    consumed_at timestamptz,
    run_id      uuid        NOT NULL,
    seq         bigint      GENERATED ALWAYS AS IDENTITY,   -- order of sending
    consumed_by integer,                        -- the step (steps.n) that took it
    sent_by     regrole     NOT NULL,
    name        text        NOT NULL,
    key         text,                           -- idempotency key of the sender
    payload     jsonb       NOT NULL,
    refused     text,                           -- why the step that took it did not have it: it does not fit the schema
    PRIMARY KEY (run_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);
-- Serves "the oldest unconsumed signal of this name" at the same cost after ten thousand consumed ones.
CREATE INDEX signals_unconsumed ON wf_internal.signals (run_id, name, seq) WHERE consumed_by IS NULL;
CREATE UNIQUE INDEX signals_key ON wf_internal.signals (run_id, key) WHERE key IS NOT NULL;
COMMENT ON TABLE wf_internal.signals IS 'signals sent to runs';

-- What operators ask of a run, read at the start of its next turn and then deleted, so that the table stays near empty.
CREATE TABLE wf_internal.controls (
    asked_at    timestamptz NOT NULL,
    run_id      uuid        NOT NULL,
    seq         bigint      GENERATED ALWAYS AS IDENTITY,
    asked_by    regrole     NOT NULL,
    action      text        NOT NULL CHECK (action IN ('cancel')),
    reason      text,
    PRIMARY KEY (run_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
COMMENT ON TABLE wf_internal.controls IS 'requests to running instances, not yet acted on';

-- Answers to open calls of a run that others have worked on: a branch, a child. Inserted with the work itself, taken by the
-- run's next turn and then deleted. One that comes when its call is no longer open is dropped.
CREATE TABLE wf_internal.answers (
    run_id      uuid        NOT NULL,
    seq         bigint      GENERATED ALWAYS AS IDENTITY,
    n           integer     NOT NULL,           -- the call
    item        integer     NOT NULL,           -- of a map or branch, from 1; 0: the call itself
    status      text        NOT NULL,           -- completed, failed, cancelled
    result      jsonb,                          -- NULL for a branch, which keeps it itself
    error       jsonb,
    PRIMARY KEY (run_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
COMMENT ON TABLE wf_internal.answers IS 'answers to open calls, not yet taken';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.answers', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.answers_seq_seq', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.signals', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.signals_seq_seq', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.controls', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.controls_seq_seq', '');
