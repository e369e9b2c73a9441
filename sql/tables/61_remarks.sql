SET LOCAL search_path = pg_catalog, pg_temp;
-- What was seen of a version of a workflow function while it ran: relations that it reads outside of steps. Recorded once,
-- so that it is pointed out once.
CREATE TABLE wf_internal.remarks (
    first_seen  timestamptz NOT NULL,
    run_id      uuid        NOT NULL,           -- in which it was seen first; may be gone by now
    def_id      integer     NOT NULL,
    owner       regrole     NOT NULL,           -- of that run
    relation    text        NOT NULL,           -- qualified
    PRIMARY KEY (def_id, relation)
);
COMMENT ON TABLE wf_internal.remarks IS 'relations that versions of workflow functions read outside of steps';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.remarks', '');
