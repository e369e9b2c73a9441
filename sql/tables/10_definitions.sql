SET LOCAL search_path = pg_catalog, pg_temp;
-- Names given by wf_define: a workflow name of the user's choice, the function behind it, its options.
CREATE TABLE wf_internal.workflows (
    name        text        NOT NULL,
    owner       regrole     NOT NULL,
    target      text        NOT NULL,           -- the function as regprocedure text, schema-qualified
    options     jsonb       NOT NULL DEFAULT '{}',
    defined_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, owner)
);
COMMENT ON TABLE wf_internal.workflows IS 'workflow names given by wf_define';

-- One row for each version of a workflow function that an instance was started on: what pins the code.
-- The content decides what a version is (source_md5 of the whole definition), not a catalogue row's identity, so that
-- a dump and restore or a rewrite of pg_proc makes no new version. Two sessions that start the first instance of a new
-- version at once may each write a row: equal content, equal version, and neither waits for the other to commit.
CREATE TABLE wf_internal.definitions (
    def_id      integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version     integer     NOT NULL,
    workflow    text        NOT NULL,
    schema_name text        NOT NULL,
    proc_name   text        NOT NULL,
    proc_args   text        NOT NULL,           -- identity arguments, as in regprocedure
    proc_owner  regrole     NOT NULL,           -- a restored version must not run with anyone else's rights
    source_md5  text        NOT NULL,
    source      text        NOT NULL,           -- pg_get_functiondef
    search_path text        NOT NULL,           -- of the session that started it: names in the code keep their meaning
    options     jsonb       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    retired_among text[]                        -- not NULL: no start finds it any more; those that may have found it before
);
CREATE INDEX definitions_lookup ON wf_internal.definitions (workflow, source_md5);
COMMENT ON TABLE wf_internal.definitions IS 'versions of workflow functions, with their source';

SELECT pg_catalog.pg_extension_config_dump('wf_internal.workflows', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.definitions', '');
SELECT pg_catalog.pg_extension_config_dump('wf_internal.definitions_def_id_seq', '');
