SET LOCAL search_path = pg_catalog, pg_temp;
-- Steps that are not transactional run in no transaction of ours: while one runs, its branch has the status 'running' and a row
-- here, and the process a note in shared memory. A row whose process is not there any more is an attempt that was lost. Few
-- rows, each for the time of one attempt.
CREATE TABLE wf_internal.commands (
    started_at  timestamptz NOT NULL,
    run_id      uuid        NOT NULL,
    n           integer     NOT NULL,           -- the branch
    item        integer     NOT NULL,
    owner       regrole     NOT NULL,
    priority    smallint    NOT NULL,
    PRIMARY KEY (run_id, n, item)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE wf_internal.commands IS 'steps that run as commands of their own just now';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.commands', '');
