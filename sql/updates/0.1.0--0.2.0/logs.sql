-- What steps have raised below ERROR. Written with the record of the attempt, by who holds the lock of the run or branch; of
-- steps that raise nothing there is nothing. Bounded by pg_workflow.log_lines and log_lines_per_run, and removed with the run.
CREATE TABLE wf_internal.logs (
    at          timestamptz NOT NULL,
    seq         bigint      GENERATED ALWAYS AS IDENTITY,
    run_id      uuid        NOT NULL,
    n           integer     NOT NULL,           -- the call (steps.n)
    item        integer     NOT NULL,           -- of a branch; 0: the step itself
    attempt     integer     NOT NULL,
    severity    text        NOT NULL,           -- DEBUG, LOG, INFO, NOTICE, WARNING
    sqlstate    text        NOT NULL,
    step        text        NOT NULL,
    message     text        NOT NULL,
    detail      text,
    hint        text,
    context     text,
    PRIMARY KEY (run_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE wf_internal.logs IS 'messages that steps have raised';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.logs', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.logs_seq_seq', '');

-- W3C traceparent that a run was started with; NULL: none.
ALTER TABLE wf_internal.runs ADD COLUMN trace text;
